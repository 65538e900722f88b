_wemoe_pl() {
    mapfile -t COMPREPLY < <(
        "$1" completion --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1
    )
}
complete -o default -F _wemoe_pl wemoe-pl
