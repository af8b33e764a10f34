# bash completion for {{.Name}}. In ~/.bashrc: source <({{.Name}} completion bash)

{{.Function}}_complete() {
	# Bash also breaks words at = : and @; only blanks do here.
	local line=${COMP_LINE:0:COMP_POINT} words=() n=0 part rest
	for part in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
		rest=${line#"${line%%[![:space:]]*}"}
		[[ $n -gt 0 && $rest == "$line" ]] || n=$((n + 1))
		[[ $rest == "$part"* ]] || part=$rest # the cursor is in this one
		words[n - 1]+=$part
		line=${rest#"$part"}
	done
	local word=${words[n - 1]} found
	local keep=${word%"$2"}
	COMPREPLY=()
	while IFS=$'\t' read -r found _; do
		COMPREPLY+=("${found#"$keep"}")
	done < <("${1/#\~/$HOME}" {{.Complete}} -- "${words[@]:1}" 2>/dev/null)
	[[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *: ]] || compopt -o nospace 2>/dev/null
}

complete -o default -F {{.Function}}_complete {{.Name}}
