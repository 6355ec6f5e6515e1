_hamlet_complete() {
    # Bash breaks words at ":" and "=", which domains and flags have within: the words of the line are put together again.
    # What stands before the last break of the word that is typed stays, and bash wants only what follows it.
    local line=$COMP_LINE typed=0 kept= position word
    local -a words=()
    for ((position = 0; position < ${#COMP_WORDS[@]}; position++)); do
        word=${COMP_WORDS[position]}
        if ((position == 0)) || [[ $line == [[:space:]]* ]]; then
            line=${line#"${line%%[![:space:]]*}"}
            words+=("")
        fi
        line=${line#"$word"}
        if ((position == COMP_CWORD)); then
            typed=$((${#words[@]} - 1))
            kept=${words[typed]}
            if [[ -n $kept && $word =~ ^[:=]+$ ]]; then
                kept+=$word
            fi
        fi
        words[${#words[@]} - 1]+=$word
    done
    # Nothing is broken within quotes, which are no part of the word.
    if [[ ${words[typed]} == [\"\']* ]]; then
        words[typed]=$2
    fi
    local IFS=$'\013' space=true
    if compopt +o nospace 2> /dev/null; then
        space=false
    fi
    COMPREPLY=($(
        _CLAP_IFS=$IFS \
            _CLAP_COMPLETE_INDEX=$typed \
            _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE \
            _CLAP_COMPLETE_SPACE=$space \
            HAMLET_COMPLETE=bash \
            hamlet -- "${words[@]}"
    ))
    if [[ $? != 0 ]]; then
        unset COMPREPLY
        return
    fi
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
    if [[ $space == false && ${COMPREPLY-} =~ [=/:]$ ]]; then
        compopt -o nospace
    fi
}
if [[ ${BASH_VERSINFO[0]} -eq 4 && ${BASH_VERSINFO[1]} -ge 4 || ${BASH_VERSINFO[0]} -gt 4 ]]; then
    complete -o nospace -o bashdefault -o nosort -F _hamlet_complete hamlet
else
    complete -o nospace -o bashdefault -F _hamlet_complete hamlet
fi
