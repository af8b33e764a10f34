# fish completion for {{.Name}}: {{.Name}} completion fish > ~/.config/fish/completions/{{.Name}}.fish

function __{{.Function}}_complete
    set -l words (commandline -opc)
    set -l word (commandline -ct)
    set -l found ($words[1] {{.Complete}} -- $words[2..-1] "$word" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$word"
    end
end

complete -c {{.Name}} -f -a '(__{{.Function}}_complete)'
