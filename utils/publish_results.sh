#!/usr/bin/env bash
# Copy the results of a recipe to the file that is kept in git.

set -euo pipefail

usage="Usage: utils/publish_results.sh egs/<corpus>
e.g.:  utils/publish_results.sh egs/emodb

Copies egs/<corpus>/exp/RESULTS.md, which stage 8 of run.sh makes, to
egs/<corpus>/RESULTS.md, which is tracked. Before its first table goes
egs/<corpus>/conf/findings.md, if it is there: what the tables show, in your words."

case "$#:${1:-}" in
    *:-h | *:--help) echo "${usage}"; exit 0 ;;
    *:-*) echo "publish_results.sh: invalid option $1" >&2; echo "${usage}" >&2; exit 2 ;;
    1:*) ;;
    *) echo "${usage}" >&2; exit 2 ;;
esac

recipe=$1
results=${recipe}/exp/RESULTS.md
if [ ! -f "${results}" ]; then
    echo "publish_results.sh: no such file ${results} (stage 8 of ${recipe}/run.sh makes it)" >&2
    exit 1
fi
if grep -q '+dirty' "${results}"; then
    echo "publish_results.sh: warning: ${results} comes from a tree with uncommitted changes" >&2
fi

# A temporary name first, so that nobody reads half a file.
temporary=${recipe}/.RESULTS.md.tmp.$$
trap 'rm -f "${temporary}"' EXIT
findings=${recipe}/conf/findings.md
if [ -f "${findings}" ]; then
    # By the environment: awk -v takes a backslash in a path for the beginning of an escape.
    findings=${findings} awk '
        /^## / && !done { while ((getline line < ENVIRON["findings"]) > 0) print line; print ""; done = 1 }
        { print }' "${results}" > "${temporary}"
else
    cp "${results}" "${temporary}"
fi
mv "${temporary}" "${recipe}/RESULTS.md"
echo "publish_results.sh: copied ${results} to ${recipe}/RESULTS.md"
