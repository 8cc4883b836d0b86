#!/usr/bin/env bash
# Run all checks: lint, types, tests. Makes the environment first where it is missing.

[ -n "${BASH_VERSION:-}" ] || { echo "tests/run.sh: this script needs bash" >&2; exit 2; }
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: tests/run.sh [--slow] [pytest arguments]
Lint, types and tests; exits 0 if all pass.

  tests/run.sh                                    # a few minutes; what CI runs
  tests/run.sh --slow                             # the long tests, some 21 minutes of two cores
  tests/run.sh tests/unit/test_equations.py       # some tests alone, no lint

  --slow   the tests marked slow in place of the others: simulations, whole recipes; drivers
           that take half an hour by their names alone: --slow tests/slow/test_forced_and_killed.py
EOF
}

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
selection="not slow"
case ${1:-} in
    --help | -h) usage; exit 0 ;;
    --slow) shift; if [ $# -eq 0 ]; then selection="slow and not driver"; else selection=; fi ;;
    --*) echo "tests/run.sh: invalid option $1; try --help" >&2; exit 2 ;;
esac

CFIA_WITH_TESTS=true
export CFIA_WITH_TESTS
. egs/TEMPLATE/path.sh
# Every job of a test computes on one thread, as a recipe's jobs do by default.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 TQDM_DISABLE=1

if [ $# -eq 0 ]; then
    echo "== ruff"
    ruff check .
    ruff format --check .
    echo "== mypy"
    MYPY_NUM_WORKERS=2 mypy cfia utils tests egs/*/local/*.py # on two processors
    echo "== import-linter"
    lint-imports
    echo "== shellcheck"
    git ls-files '*.sh' .ci/run | grep -v '/ser.sh$\|/path.sh$\|/cmd.sh$' | xargs shellcheck -x
    shellcheck -x egs/TEMPLATE/*.sh
fi
echo "== pytest"
# One file at a time per processor, since the tests of a file share what they make; in the order of
# their names, so that the long ones, tests/shell, are not the last.
exec python -m pytest -rs -n auto --dist loadfile --no-loadscope-reorder -m "${selection}" "$@"
