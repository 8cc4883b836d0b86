#!/usr/bin/env bash
# Make a recipe for another corpus, egs/<name>, from egs/TEMPLATE/recipe.

[ -n "${BASH_VERSION:-}" ] || { echo "new_recipe.sh: this script needs bash" >&2; exit 2; }
set -euo pipefail

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
    cat <<'EOF'
Usage: utils/new_recipe.sh <name>
Make egs/<name>: a recipe for another corpus, with a page that says where things are in it.
egs/TEMPLATE/README.md leads from there to a table of scores.

  utils/new_recipe.sh ravdess
EOF
    exit 0
fi
if [ $# -ne 1 ]; then
    echo "new_recipe.sh: expected one name, got $# arguments; try --help" >&2
    exit 2
fi
name=$1
if ! [[ ${name} =~ ^[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}$ ]]; then
    echo "new_recipe.sh: '${name}' cannot be a recipe's name, which is a directory's; use letters," \
        "digits, _ and -, such as ravdess" >&2
    exit 2
fi
root_dir=$(readlink -f "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/..")
recipe=${root_dir}/egs/${name}
if [ -e "${recipe}" ] || [ -L "${recipe}" ]; then
    echo "new_recipe.sh: egs/${name} is there already; choose another name, or remove it first" >&2
    exit 1
fi

# Under another name until it is whole.
temporary=$(mktemp -d "${root_dir}/egs/.${name}.XXXXXX")
trap 'rm -rf "${temporary}"' EXIT
cp -R "${root_dir}/egs/TEMPLATE/recipe/." "${temporary}"
mkdir "${temporary}/local"
for file in ser.sh path.sh cmd.sh; do ln -s "../TEMPLATE/${file}" "${temporary}/${file}"; done
ln -s ../../TEMPLATE/data.sh "${temporary}/local/data.sh"
while IFS= read -r file; do
    content=$(< "${file}")
    printf '%s\n' "${content//NAME/${name}}" > "${file}"
done < <(find "${temporary}" -type f)
chmod 755 "${temporary}"
mv -T "${temporary}" "${recipe}"
trap - EXIT

cat <<EOF
egs/${name} is made. Three things to do next:
  1. Say in egs/${name}/conf/corpus.yaml where things are in the corpus, and what its labels mean in
     egs/${name}/conf/labels/all.yaml.
  2. See how that is understood, from egs/${name}, as often as you like; it writes nothing:
     ./local/data.sh --show 5 --labels all <where the corpus is>
  3. ./run.sh --corpus_dir <where the corpus is>
egs/TEMPLATE/README.md has an example of all three.
EOF
