#compdef {{.Name}}
# zsh completion for {{.Name}}. In ~/.zshrc, behind compinit: source <({{.Name}} completion zsh)
# As a file called _{{.Name}} in a folder of $fpath it is loaded when it is needed.

_{{.Function}}() {
	local line
	local -a found
	"${~words[1]}" {{.Complete}} -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null | while IFS= read -r line; do
		found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
	done
	if (( $#found )); then
		_describe -V {{.Name}} found
	else
		_files
	fi
}

if [[ $funcstack[1] == _{{.Function}} ]]; then
	_{{.Function}} "$@"
else
	compdef _{{.Function}} {{.Name}}
fi
