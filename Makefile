# Every target that needs .venv makes it first. `make help` lists the targets.
COMPILE = uv pip compile pyproject.toml --quiet --group build --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header $(LOCK_ARGS)

.PHONY: help demo test test-long coverage bench lint docs lock clean

help: ## this list | danh sách này
	@sed -n 's/^\([a-z-]*\):.*## \(.*\) | \(.*\)/\1|\2|\3/p' Makefile \
		| awk -F'|' '{ printf "  make %-10s %s\n                  %s\n", $$1, $$2, $$3 }'

demo: ## one province on this machine; ENGINES=rabbitmq runs it on a broker, ENGINES=postgresql on PostgreSQL and a broker; options in DEMO_ARGS, as in DEMO_ARGS=--serve | một tỉnh trên máy này; ENGINES=rabbitmq chạy qua RabbitMQ, ENGINES=postgresql chạy trên PostgreSQL và RabbitMQ; tuỳ chọn đặt trong DEMO_ARGS
	@ENGINES=$(ENGINES) .ci/setup run
	@.venv/bin/lgsp demo $(if $(ENGINES),--engines $(ENGINES)) $(DEMO_ARGS)

test: ## lint, types, import contracts and the quick tests | kiểm tra mã nguồn, kiểu, tầng và các phép thử nhanh
	@.ci/setup dev
	@.ci/test quick

test-long: ## minutes of chaos, fuzzing and volume | các phép thử dài: sự cố, dữ liệu ngẫu nhiên, khối lượng lớn
	@.ci/setup dev
	@.ci/test long

coverage: ## what the quick tests reach of each part's statements and branches; what pytest is to run in COVERAGE_ARGS, as in COVERAGE_ARGS="tests/unit -n 0" | các phép thử nhanh chạy qua bao nhiêu câu lệnh và nhánh của từng phần; tham số cho pytest đặt trong COVERAGE_ARGS
	@.ci/setup dev
	@.ci/coverage $(COVERAGE_ARGS)

bench: ## the bus against a bare full path and against a glued one, on private servers; options in BENCH_ARGS, as in BENCH_ARGS="--only embedded,floor_embedded" | đo trục so với đường đi trần và cách tự ghép; tuỳ chọn đặt trong BENCH_ARGS
	@.ci/setup dev
	@.venv/bin/python -m tests.bench $(BENCH_ARGS)

lint: ## lint, types and import contracts alone | chỉ kiểm tra mã nguồn, kiểu và tầng
	@.ci/setup dev
	@.ci/test lint

docs: ## write docs/refusals.md, docs/limits.md and their Vietnamese twins anew from the program | ghi lại docs/refusals.md, docs/limits.md và bản tiếng Việt theo chương trình
	@.ci/setup dev
	@.venv/bin/python .ci/refusals.py
	@.venv/bin/python .ci/limits.py

# Versions that already stand in the locks are kept: LOCK_ARGS=--upgrade moves all, LOCK_ARGS="--upgrade-package NAME" one.
lock: ## write the lock files anew from pyproject.toml (needs uv) | ghi lại tệp khoá phiên bản từ pyproject.toml (cần uv)
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH (pip install uv)" >&2; exit 1; }
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --constraints requirements.lock --output-file requirements-dev.lock

clean: ## remove .venv, caches and build results | xoá .venv, bộ đệm và kết quả dựng
	rm -rf .venv build dist tests/integration/jose/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
