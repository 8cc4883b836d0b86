#!/usr/bin/env bash
# Copy the results of a recipe to the file that is kept in git.

set -euo pipefail

usage="Usage: utils/publish_results.sh egs/<corpus>
e.g.:  utils/publish_results.sh egs/emodb

Copies egs/<corpus>/exp/RESULTS.md, which stage 8 of run.sh makes, to
egs/<corpus>/RESULTS.md, which is tracked. Before its first table goes
egs/<corpus>/conf/findings.md, if it is there: what the tables show, in your words.
What was published before and is not under exp/ stays as it was: other studies, each
of which says by which commit and commands it was made, and where exp/ has nothing
but studies, all else. To drop a study, delete its section."

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
# Sections begin with "## ". Studies stand in the order of their names behind the tables of schemes.
# Assignments, unlike -v, come with the files; none of these paths is taken for one, for its "/".
awk '
    FNR == 1 { section = "" }
    /^## / { section = $0 }
    file == "findings" { findings = findings $0 "\n"; if (/^## /) found[$0] = 1; next }
    section in found { next } # as published: the file may have changed
    /^## Study / && !(section in from) { from[section] = file; names[++n] = section }
    section in from { if (from[section] == file) study[section] = study[section] $0 "\n"; next }
    { place = section == "" ? "head" : section ~ /^## (By class|How it was made)/ ? "end" : "middle"
      text[file, place] = text[file, place] $0 "\n" }
    END {
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && names[j] < names[j - 1]; j--) { t = names[j]; names[j] = names[j - 1]; names[j - 1] = t }
        studies_alone = text["made", "middle"] text["made", "end"] == "" && n > 0
        file = studies_alone && ("published", "head") in text ? "published" : "made"
        printf "%s", text[file, "head"]
        if (findings != "") print findings
        printf "%s", text[file, "middle"]
        for (i = 1; i <= n; i++) printf "%s", study[names[i]]
        printf "%s", text[file, "end"]
    }' file=findings "${findings}" file=made "${results}" file=published "${published}" > "${temporary}"
mv "${temporary}" "${recipe}/RESULTS.md"
echo "publish_results.sh: copied ${results} to ${recipe}/RESULTS.md"
