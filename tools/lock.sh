#!/bin/sh
# Pin all requirements with their hashes, for every supported Python and platform. Needs uv; no index address is written.
# Fewest: one version of a package for all Pythons, so that the numeric libraries, and so the bytes, are the same by each.
set -eu
lock() {
    uv pip compile --quiet --upgrade --universal --fork-strategy fewest --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml "$@"
}
lock --extra cpu --output-file requirements/base.txt
lock --extra cpu --extra dev --constraint requirements/base.txt --output-file requirements/dev.txt
lock --extra cpu --extra bench --constraint requirements/base.txt --output-file requirements/bench.txt
lock --extra cpu --extra cluster --constraint requirements/base.txt --output-file requirements/cluster.txt
lock --extra cpu --extra audit --constraint requirements/base.txt --output-file requirements/audit.txt
