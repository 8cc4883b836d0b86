# shellcheck shell=bash
# Sourced by what calls python3 before path.sh does, with root_dir set: says in one sentence why
# the project's programs cannot be found or run, and returns 1.

if ! command -v python3 > /dev/null; then
    echo "${program_name:-${0##*/}}: there is no python3 on the path; install Python 3.11 or newer" >&2
    return 1
fi
# Python cannot find its own library, or ends, with values of these that are another one's.
if [ -n "${PYTHONHOME:-}${PYTHONPLATLIBDIR:-}${PYTHONHASHSEED:-}" ] &&
    ! python3 -c 'import math' 2> /dev/null; then
    set=(${PYTHONHOME:+PYTHONHOME} ${PYTHONPLATLIBDIR:+PYTHONPLATLIBDIR}
        ${PYTHONHASHSEED:+PYTHONHASHSEED})
    echo "${program_name:-${0##*/}}: $(command -v python3) does not start with what the" \
        "environment has as ${set[*]}; unset that and run it again" >&2
    return 1
fi
case ${root_dir:?} in
    *:*)
        echo "${program_name:-${0##*/}}: no directory with a colon in its name can be on the" \
            "paths of the shell and of Python; rename ${root_dir}" >&2
        return 1
        ;;
esac
