# Every target works from a bare clone: the environment in .venv is made, mended, or given what the
# target needs besides, first. TORCH=cpu or TORCH=cuda chooses the build of PyTorch.
PYTHON ?= python3
TORCH ?=
ARGS ?=
READ := $(PYTHON) tools/environment.py $(if $(TORCH),--torch $(TORCH))
GRADE := $(READ) --with labs
BOOK := $(READ) --with labs,site
TEST := $(READ) --with labs,site,test
# A text file of ours that is opened without an encoding fails its test, on this machine too; other
# people's, and in the programs that tests start, are let be.
ENCODED := PYTHONWARNDEFAULTENCODING=1 PYTHONWARNINGS=ignore::EncodingWarning
# JupyterLab refuses to start as root (in a container, say) unless it is told to.
ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help lab test test-browser test-network check matrix conditions release grade slides pdf site outputs hosted figures bench constraints clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

lab: ## open the lectures in JupyterLab (ARGS=--no-browser prints the address)
	@$(READ) jupyter lab --LabApp.default_url=/lab/tree/notebooks $(ROOT) $(ARGS)

test: check ## run every check and test, notebooks included (ARGS: more for pytest)
	@$(ENCODED) $(TEST) pytest -n 2 --dist loadfile $(ARGS)

test-browser: site ## try the lectures and the book in Chromium, as a reader does (ARGS: more for pytest)
	@$(TEST) python -m tools.browser
	@$(TEST) pytest -n 2 --dist loadfile -m browser tests/browser $(ARGS)

test-network: ## install the wheel with the oldest PyTorch that it allows (7 GB), and run a lecture
	@$(TEST) pytest -m network tests/test_wheel.py $(ARGS)

check: ## lint, format and types
	@$(TEST) ruff check
	@$(TEST) ruff format --check
	@$(TEST) mypy

matrix: ## run the tests on every Python that is here, and with the lowest versions (ARGS: which)
	@$(TEST) python -m tools.matrix $(ARGS)

conditions: ## run the tests in other locales, places, threads and orders (ARGS: which)
	@$(TEST) python -m tools.conditions $(ARGS)

release: ## make labs/release/ and the students' archive, without solutions
	@$(GRADE) python -m labs.grading release $(ARGS)

grade: ## grade submissions: make grade LAB=lab1 SUBMISSIONS=folder (SCHEDULER=address of Dask)
	@test -n "$(LAB)" -a -n "$(SUBMISSIONS)" || \
	  { echo "Say which: make grade LAB=lab1 SUBMISSIONS=folder"; exit 2; }
	@$(GRADE) python -m labs.grading grade "$(SUBMISSIONS)" --lab "$(LAB)" \
	  $(if $(SCHEDULER),--scheduler "$(SCHEDULER)") $(ARGS)

slides: ## make a deck of slides of each lecture, in build/slides
	@$(BOOK) python -m book.slides

pdf: site ## print each lecture of the web site, in build/pdf
	@$(BOOK) python -m book.pdf

site: ## build the course as a web site, in build/site
	@$(BOOK) python -m book.build

outputs: ## execute the notebooks and store their outputs (ARGS: names of notebooks)
	@$(TEST) python -m tools.outputs $(ARGS)

hosted: ## write set-up cells and badges for hosted services, from the address in pyproject.toml
	@$(TEST) python -m tools.hosted

figures: ## draw everything in img/ and data/avatars/ again
	@$(TEST) python -m tools.photos
	@$(TEST) python -m tools.avatars
	@$(TEST) python -m tools.figures

bench: ## compare the speed of cnnlib with the alternatives, as ratios
	@$(TEST) python -m benchmarks.correlation
	@$(TEST) python -m benchmarks.training
	@$(TEST) python -m benchmarks.grading
	@$(TEST) python -m benchmarks.explorers

constraints: ## pin the newest versions that work together in constraints.txt
	@$(TEST) python -m tools.constraints

clean: ## remove the environment and everything made by tools
	rm -rf .venv .venv.lock build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
