# shellcheck shell=bash
# Sourced, from any directory, by the scripts that run the project's programs: makes the Python
# environment where it is missing, and puts it, utils/ and the package on the paths. Where that
# fails, it says why and returns 1.
#
# The python3 on the path is used as it is if it has all that is needed; else the environment is
# .venv in the repository's root. A person who sources this at a prompt is asked before it is made,
# scripts are not. With CFIA_WITH_TESTS=true, what is needed includes the test tools.

MAIN_ROOT=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../..")
export MAIN_ROOT

# Sorting by bytes, as all Kaldi tools expect; text is UTF-8 whatever the locale.
export LC_ALL=C
export PYTHONIOENCODING=UTF-8
export PYTHONUTF8=1

# The tensors of a batch are large: glibc gives them back to the system whenever they are freed (by
# itself from 32 MiB on), and every operation waits for fresh pages. Let it keep them. Seconds of
# one processor for a training step at IEMOCAP's sizes, before and after
# (tests/bench/bench_step.py): the equations on 512 positions 5.7 and 2.7, cfia_net_paper 1.15 and
# 1.09, cfia_net 0.52 and 0.46. The peak of memory rises for the first, from 1.8 to 2.7 GiB, and not
# for the others (1.0 and 0.8). A trim threshold alone makes it slower. Values that you have set
# yourself stay.
export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_-1099511627776}"

if ! command -v python3 > /dev/null; then
    echo "path.sh: there is no python3 on the path; install Python 3.11 or newer" >&2
    return 1
fi
case ${MAIN_ROOT} in
    *:*)
        echo "path.sh: no directory with a colon in its name can be on the paths of the shell and" \
            "of Python; rename ${MAIN_ROOT}" >&2
        return 1
        ;;
esac
if [ "${CFIA_WITH_TESTS:-false}" = true ]; then _path_needs=--test; else _path_needs=; fi
case $- in *i*) _path_needs+=" --ask" ;; esac
# shellcheck disable=SC2086
_path_bin=$(python3 "${MAIN_ROOT}/utils/install.py" ${_path_needs}) || return 1
_path_bin=${_path_bin##*$'\n'} # a module of Python's start may print lines of its own

# Sourced twice, it changes nothing the second time.
case ":${PATH}:" in
    ":${MAIN_ROOT}/utils:${_path_bin}:"*) ;;
    *) export PATH="${MAIN_ROOT}/utils:${_path_bin}:${PATH}" ;;
esac
case ":${PYTHONPATH:-}:" in
    ":${MAIN_ROOT}:"*) ;;
    *) export PYTHONPATH="${MAIN_ROOT}${PYTHONPATH:+:${PYTHONPATH}}" ;;
esac
unset _path_needs _path_bin
