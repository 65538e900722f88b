function __wemoe_pl
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] completion --complete $words[2..-1] 2>/dev/null)
    if test (count $lines) -eq 0
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $lines
    end
end
complete -c wemoe-pl -f -a '(__wemoe_pl)'
