# Every target works from a bare clone: the environment in .venv is made, or mended, first.
PYTHON ?= python3
ARGS ?=
RUN := $(PYTHON) tools/environment.py
# JupyterLab refuses to start as root (in a container, say) unless it is told to.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help lab test test-browser test-network check release grade slides pdf site outputs hosted figures bench constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

lab: ## open the lectures in JupyterLab (ARGS=--no-browser prints the address)
	@$(RUN) jupyter lab --LabApp.default_url=/lab/tree/notebooks $(ROOT) $(ARGS)

test: check ## run every check and test, notebooks included (ARGS: more for pytest)
	@$(RUN) pytest -n 2 --dist loadfile $(ARGS)

test-browser: site ## try the lectures and the book in Chromium, as a reader does (ARGS: more for pytest)
	@$(RUN) python tools/browser.py
	@$(RUN) pytest -n 2 --dist loadfile -m browser tests/browser $(ARGS)

test-network: ## install the wheel with the oldest PyTorch that it allows (7 GB), and run a lecture
	@$(RUN) pytest -m network tests/test_wheel.py $(ARGS)

check: ## lint, format and types
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy

release: ## make labs/release/ and the students' archive, without solutions
	@$(RUN) python -m labs.grading release $(ARGS)

grade: ## grade submissions: make grade LAB=lab1 SUBMISSIONS=folder (SCHEDULER=address of Dask)
	@test -n "$(LAB)" -a -n "$(SUBMISSIONS)" || \
	  { echo "Say which: make grade LAB=lab1 SUBMISSIONS=folder"; exit 2; }
	@$(RUN) python -m labs.grading grade "$(SUBMISSIONS)" --lab "$(LAB)" \
	  $(if $(SCHEDULER),--scheduler "$(SCHEDULER)") $(ARGS)

slides: ## make a deck of slides of each lecture, in build/slides
	@$(RUN) python site/slides.py

pdf: site ## print each lecture of the web site, in build/pdf
	@$(RUN) python site/pdf.py

site: ## build the course as a web site, in build/site
	@$(RUN) python site/build.py

outputs: ## execute the notebooks and store their outputs (ARGS: names of notebooks)
	@$(RUN) python tools/outputs.py $(ARGS)

hosted: ## write set-up cells and badges for hosted services, from the address in pyproject.toml
	@$(RUN) python tools/hosted.py

figures: ## draw everything in img/ and data/avatars/ again
	@$(RUN) python tools/photos.py
	@$(RUN) python tools/avatars.py
	@$(RUN) python -m cnnlib.diagrams

bench: ## compare the speed of cnnlib with the alternatives, as ratios
	@$(RUN) python benchmarks/correlation.py
	@$(RUN) python benchmarks/training.py
	@$(RUN) python benchmarks/grading.py
	@$(RUN) python benchmarks/explorers.py

constraints: ## pin the newest versions that work together in constraints.txt
	@$(RUN) python tools/constraints.py

clean: ## remove the environment and everything made by tools
	rm -rf .venv .venv.lock build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
