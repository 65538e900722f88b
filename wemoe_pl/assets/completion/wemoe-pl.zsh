_wemoe_pl() {
    local -a lines names
    lines=("${(@f)$("$words[1]" completion --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -z "$lines" ]]; then _files; return; fi
    names=("${(@)lines%%$'\t'*}")
    lines=("${(@)lines/$'\t'/  -- }")
    compadd -l -d lines -- $names
}
compdef _wemoe_pl wemoe-pl
