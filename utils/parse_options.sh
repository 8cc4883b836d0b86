# Sourced by a bash script whose options are variables with defaults: . utils/parse_options.sh
#
#   --some-name value, --some_name value, --some_name=value
#                   set the variable some_name, which must exist already; a variable whose default
#                   is true or false takes nothing else. Where the script has a line that begins
#                   with "# Options" and one with "# End of options", an option is what stands
#                   between them, and no other variable; $option_names lists them
#   --config file   is sourced before any other option is looked at, so the command line wins
#   --help, -h      prints $help_message, or calls the function `usage` if there is one, with all
#                   options as they are set
#
# Parsing stops at the first argument that is not an option; "$@" is the rest. A usage error is one
# sentence on stderr and exit code 2, under the script's name or, where it is set, the name in
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

_po_exists() { # name
    [[ "$1" =~ ^[A-Za-z][A-Za-z0-9_]*$ ]] && [ -n "${!1+set}" ] || return 1
    [ -z "${option_names-}" ] || [[ " ${option_names} " == *" $1 "* ]]
}

_po_is_boolean() { # value
    [ "$1" = true ] || [ "$1" = false ]
}

unset option_names
_po_script=${BASH_SOURCE[1]-} # none, if it came by -c or on stdin
if [ -f "${_po_script}" ] && grep -q '^# End of options' "${_po_script}"; then
    option_names=$(sed -n '/^# Options/,/^# End of options/s/^\([A-Za-z][A-Za-z0-9_]*\)=.*/\1/p' \
        "${_po_script}" | tr '\n' ' ')
fi

# Only the last option can be without a value: there are then fewer values than options.
_po_options=()
_po_values=()
_po_help=false
while [ $# -gt 0 ]; do
    case "$1" in
        --help | -h) _po_help=true ;;
        --*=*)
            _po_options+=("${1%%=*}")
            _po_values+=("${1#*=}")
            ;;
        --*)
            _po_options+=("$1")
            if [ $# -gt 1 ]; then shift; _po_values+=("$1"); fi
            ;;
        *) break ;;
    esac
    shift
done

# The variables that are true or false before the config files, which must leave them so.
_po_booleans=$(compgen -v | while IFS= read -r _po_name; do
    if _po_is_boolean "${!_po_name-}"; then printf '%s\n' "${_po_name}"; fi
done)
for ((_po_i = 0; _po_i < ${#_po_options[@]}; _po_i++)); do
    [ "${_po_options[_po_i]}" = --config ] || continue
    [ "${_po_i}" -lt "${#_po_values[@]}" ] || _po_fail "option --config needs a value"
    _po_config=${_po_values[_po_i]}
    if [ ! -r "${_po_config}" ] || [ -d "${_po_config}" ]; then
        _po_fail "cannot read the config file '${_po_config}'"
    fi
    # Sourced here, not in a function, where the file's declarations would stay local. Without a
    # slash in its name, bash would look for the file on PATH.
    case "${_po_config}" in
        */*) ;;
        *) _po_config=./${_po_config} ;;
    esac
    # A file from Windows has carriage returns and a byte order mark, which bash takes for words.
    _po_text=
    [ ! -f "${_po_config}" ] || _po_text=$(< "${_po_config}") # a pipe can be read but once
    if [[ ${_po_text} == *$'\r'* || ${_po_text} == $'\xef\xbb\xbf'* ]]; then
        _po_text=${_po_text#$'\xef\xbb\xbf'}
        _po_text=${_po_text//$'\r\n'/$'\n'}
        eval "${_po_text%$'\r'}"
    else
        # shellcheck source=/dev/null
        . "${_po_config}"
    fi
    for _po_name in ${_po_booleans}; do
        _po_is_boolean "${!_po_name-}" || _po_fail "${_po_name} is '${!_po_name-}' in the config \
file '${_po_config}'; it takes true or false"
    done
done

for ((_po_i = 0; _po_i < ${#_po_options[@]}; _po_i++)); do
    _po_option=${_po_options[_po_i]}
    _po_name=${_po_option#--}
    _po_name=${_po_name//-/_}
    if [ "${_po_name}" = config ] && ! _po_exists config; then continue; fi
    _po_exists "${_po_name}" || _po_fail "invalid option ${_po_option}"
    [ "${_po_i}" -lt "${#_po_values[@]}" ] || _po_fail "option ${_po_option} needs a value"
    _po_value=${_po_values[_po_i]}
    if _po_is_boolean "${!_po_name}" && ! _po_is_boolean "${_po_value}"; then
        _po_fail "option ${_po_option} takes true or false, not '${_po_value}'"
    fi
    # bash ends the script at once on a read-only name, such as UID; a subshell tries it first.
    (printf -v "${_po_name}" '%s' "${_po_value}") 2> /dev/null ||
        _po_fail "invalid option ${_po_option}"
    printf -v "${_po_name}" '%s' "${_po_value}"
done

if ${_po_help}; then
    if [ "$(type -t usage)" = function ]; then usage; else
        printf '%s\n' "${help_message:-usage: ${0##*/} [--option value ...]}"
    fi
    exit 0
fi

unset _po_script _po_help _po_option _po_options _po_name _po_value _po_values _po_i _po_booleans _po_config _po_text
unset -f _po_fail _po_exists _po_is_boolean
