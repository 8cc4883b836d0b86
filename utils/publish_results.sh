#!/usr/bin/env bash
# Copy the results of a recipe to the file that is kept in git.

set -euo pipefail

usage="Usage: utils/publish_results.sh egs/<corpus>
e.g.:  utils/publish_results.sh egs/emodb

Copies egs/<corpus>/exp/RESULTS.md, which stage 8 of run.sh makes, to
egs/<corpus>/RESULTS.md, which is tracked. Before its first table goes
egs/<corpus>/conf/findings.md, if it is there: what the tables show, in your words.
A study that was published before and is not under exp/ stays as it was published;
it says by which commit and commands it was made. To drop it, delete its section."

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
published=${recipe}/RESULTS.md
[ -f "${published}" ] || published=/dev/null
findings=${recipe}/conf/findings.md
[ -f "${findings}" ] || findings=/dev/null
# Sections begin with "## ". Studies stand in the order of their names after the tables of schemes;
# the results are read twice, since it must be known which studies they have. By the environment:
# awk -v takes a backslash in a path for the beginning of an escape.
findings=${findings} awk '
    file == 1 { if (/^## Study /) fresh[$0] = 1; next }
    file == 2 && /^## / { name = /^## Study / && !($0 in fresh) ? $0 : "" }
    file == 2 && /^## Study / && name != "" { names[++n] = name }
    file == 2 { if (name != "") kept[name] = kept[name] $0 "\n"; next }
    /^## / && !told++ { while ((getline line < ENVIRON["findings"]) > 0) print line; if (line != "") print "" }
    /^## (Study|By class|How it was made)/ { keep(/^## Study / ? $0 : "") }
    { print }
    END { keep("") }
    function keep(before) { # print the kept studies whose names come before this one, or all
        while (done < n && (before == "" || names[done + 1] < before)) printf "%s", kept[names[++done]]
    }' file=1 "${results}" file=2 "${published}" file=3 "${results}" > "${temporary}"
mv "${temporary}" "${recipe}/RESULTS.md"
echo "publish_results.sh: copied ${results} to ${recipe}/RESULTS.md"
