"""Makes the book, the slides and the prints of the course, from what the notebooks have stored.

`build` (`make site`) has `staging` collect the pages and Sphinx make them as `conf` says, with
`maths` for the formulas and `pictures` for what is drawn. `slides` (`make slides`) has `cutting`
cut lectures into pieces, which `fitting` measures. `pdf` (`make pdf`) prints the book's lectures
in Chromium. `vendor` loads what comes from npm.
"""
