# Every target is a script in scripts/, which can be run, and read, by itself. ARGS hands arguments on:
# make demo ARGS=--exit
.PHONY: demo test install model bench advisories

demo:
	@scripts/demo.sh $(ARGS)

test:
	@scripts/test.sh $(ARGS)

install:
	@PREFIX="$(PREFIX)" scripts/install.sh

model:
	@DATA="$(DATA)" scripts/model.sh $(ARGS)

bench:
	@scripts/bench.sh $(ARGS)

advisories:
	@scripts/advisories.sh $(ARGS)
