# Sourced by a bash script whose options are variables with defaults: . utils/parse_options.sh
#
#   --some-name value, --some_name value, --some_name=value
#                   set the variable some_name, which must exist already; a variable whose default
#                   is true or false takes nothing else
#   --config file   is sourced before any other option is looked at, so the command line wins
#   --help, -h      prints $help_message, or what the function `usage` says if there is one, with
#                   all options as they are set
#
# Parsing stops at the first argument that is not an option; "$@" is what is left. A usage error is
# one sentence on stderr and exit code 2, under the script's name or, where it is set, the name in
# $program_name. Values are assigned, never evaluated. Works with bash 3.2 as well.

# shellcheck shell=bash

if [ -z "${BASH_VERSION:-}" ]; then
    echo "${0##*/}: this script needs bash; run it as: bash $0" >&2
    exit 2
fi

_po_fail() { # sentence
    printf '%s: %s\n' "${program_name:-${0##*/}}" "$1" >&2
    exit 2
}

# The next option as _po_option and _po_name and, unless it is the last word, _po_value.
_po_split() { # option [word after it]
    _po_option=${1%%=*}
    _po_name=${_po_option#--}
    _po_name=${_po_name//-/_}
    unset _po_value
    case "$1" in
        *=*) _po_value=${1#*=} ;;
        *) if [ $# -gt 1 ]; then _po_value=$2; fi ;;
    esac
}

_po_exists() { # name
    [[ "$1" =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] && [ -n "${!1+set}" ]
}

_po_is_boolean() { # value
    [ "$1" = true ] || [ "$1" = false ]
}

_po_assign() {
    if [ "${_po_name}" = config ] && ! _po_exists config; then
        return 0
    fi
    _po_exists "${_po_name}" || _po_fail "invalid option ${_po_option}"
    [ -n "${_po_value+set}" ] || _po_fail "option ${_po_option} needs a value"
    if _po_is_boolean "${!_po_name}" && ! _po_is_boolean "${_po_value}"; then
        _po_fail "option ${_po_option} takes true or false, not '${_po_value}'"
    fi
    # bash ends the script at once on a read-only name, such as UID; a subshell tries it first.
    (printf -v "${_po_name}" '%s' "${_po_value}") 2> /dev/null ||
        _po_fail "invalid option ${_po_option}"
    printf -v "${_po_name}" '%s' "${_po_value}"
}

# The names of all variables that are true or false now, one a line.
_po_booleans() {
    local name
    while IFS= read -r name; do
        if _po_is_boolean "${!name-}"; then printf '%s\n' "${name}"; fi
    done < <(compgen -v)
}

# What the config file made of the variables that were true or false before it.
_po_check_booleans() { # file, names
    local name
    for name in $2; do
        _po_is_boolean "${!name-}" ||
            _po_fail "${name} is '${!name-}' in the config file '$1'; it takes true or false"
    done
}

# The config files first, and whether there is --help. An index walks over "$@", because the
# options are needed again below.
_po_configs=()
_po_help=false
_po_index=1
while [ "${_po_index}" -le $# ]; do
    case "${!_po_index}" in
        --help | -h) _po_help=true; _po_index=$((_po_index + 1)); continue ;;
        --*) _po_split "${@:_po_index:2}" ;;
        *) break ;;
    esac
    if [ "${_po_name}" = config ]; then
        [ -n "${_po_value+set}" ] || _po_fail "option --config needs a value"
        if [ ! -r "${_po_value}" ] || [ -d "${_po_value}" ]; then
            _po_fail "cannot read the config file '${_po_value}'"
        fi
        # Without a slash in its name, bash would look for the file on PATH.
        case "${_po_value}" in
            */*) _po_configs+=("${_po_value}") ;;
            *) _po_configs+=("./${_po_value}") ;;
        esac
    fi
    case "${!_po_index}" in
        *=*) _po_index=$((_po_index + 1)) ;;
        *) _po_index=$((_po_index + 2)) ;;
    esac
done
if [ "${#_po_configs[@]}" -gt 0 ]; then
    _po_names=$(_po_booleans)
    # Sourced here, not in a function, where the file's declarations would stay local.
    for _po_config in "${_po_configs[@]}"; do
        # shellcheck source=/dev/null
        . "${_po_config}"
        _po_check_booleans "${_po_config}" "${_po_names}"
    done
fi

while [ $# -gt 0 ]; do
    case "$1" in
        --help | -h) shift; continue ;;
        --*) _po_split "${@:1:2}" ;;
        *) break ;;
    esac
    _po_assign
    case "$1" in
        *=*) shift ;;
        *) shift 2 ;;
    esac
done

if ${_po_help}; then
    if [ "$(type -t usage)" = function ]; then usage; else
        printf '%s\n' "${help_message:-usage: ${0##*/} [--option value ...]}"
    fi
    exit 0
fi

unset _po_help _po_option _po_name _po_value _po_configs _po_index _po_names _po_config
unset -f _po_fail _po_split _po_exists _po_is_boolean _po_assign _po_booleans _po_check_booleans
