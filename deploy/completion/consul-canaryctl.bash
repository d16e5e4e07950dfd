# bash completion for consul-canaryctl; printed by `consul-canaryctl completion bash`

_consul_canaryctl() {
  local line=${COMP_LINE:0:COMP_POINT} flags='--help -h --version --analyzer.url --token-file' takes='apply validate plan replay list get history delete start pause resume promote abort retry status watch check shield completion' formats='' command='' i
  local -a words=() connection=()
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  local last=$((${#words[@]} - 1))
  local cur=${words[last]} prev=${words[last - 1]}
  for ((i = 1; i < last; i++)); do
    case ${words[i]} in
    --analyzer.url | --token-file)
      ((i + 1 < last)) && connection+=("${words[i]}" "${words[i + 1]}")
      ((i++))
      ;;
    --*=*) connection+=("${words[i]}") ;;
    -*) ;;
    *)
      command=${words[i]}
      break
      ;;
    esac
  done
  case $command in
    apply) flags='--help -h --filename -f --create --analyzer.url --token-file' takes='' formats='' ;;
    validate) flags='--help -h --filename -f --analyzer.url --token-file' takes='' formats='' ;;
    plan) flags='--help -h --filename -f --rate --failures --output -o --analyzer.url --token-file' takes='' formats='table json yaml' ;;
    replay) flags='--help -h --output -o --analyzer.url --token-file' takes='files' formats='table json' ;;
    list) flags='--help -h --output -o --analyzer.url --token-file' takes='' formats='table json yaml' ;;
    get) flags='--help -h --output -o --analyzer.url --token-file' takes='services' formats='table json yaml' ;;
    history) flags='--help -h --limit --since --output -o --analyzer.url --token-file' takes='services' formats='table json yaml' ;;
    delete) flags='--help -h --release --force --analyzer.url --token-file' takes='services' formats='' ;;
    start) flags='--help -h --version --analyzer.url --token-file' takes='services' formats='' ;;
    pause) flags='--help -h --all --reason --analyzer.url --token-file' takes='services' formats='' ;;
    resume) flags='--help -h --all --analyzer.url --token-file' takes='services' formats='' ;;
    promote) flags='--help -h --full --analyzer.url --token-file' takes='services' formats='' ;;
    abort) flags='--help -h --analyzer.url --token-file' takes='services' formats='' ;;
    retry) flags='--help -h --analyzer.url --token-file' takes='services' formats='' ;;
    status) flags='--help -h --wait --timeout --version --output -o --analyzer.url --token-file' takes='services' formats='table json yaml' ;;
    watch) flags='--help -h --until-done --version --output -o --analyzer.url --token-file' takes='services' formats='table json' ;;
    check) flags='--help -h --primary-subset --canary-subset --caller --output -o --analyzer.url --token-file' takes='services' formats='table json yaml' ;;
    shield) flags='--help -h --primary-subset --canary-subset --caller --output -o --max-failures --apply --remove --now --analyzer.url --token-file' takes='services' formats='hcl json kubernetes' ;;
    completion) flags='--help -h --analyzer.url --token-file' takes='bash zsh' formats='' ;;
  '') ;;
  *) return ;;
  esac
  COMPREPLY=()
  case $prev in
  -o | --output)
    COMPREPLY=($(compgen -W "$formats" -- "$cur"))
    return
    ;;
  -f | --filename | --token-file) takes=files ;;
  --analyzer.url | --version | --timeout | --limit | --since | --rate | --failures | --reason | --primary-subset | --canary-subset | --caller | --max-failures)
    [[ -n $command || $prev != --version ]] && return
    ;;
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    return
  fi
  case $takes in
  files)
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    ;;
  services)
    local known
    known=$("${words[0]}" "${connection[@]}" __services 2>/dev/null)
    COMPREPLY=($(compgen -W "$known" -- "$cur"))
    ;;
  *) COMPREPLY=($(compgen -W "$takes" -- "$cur")) ;;
  esac
}

complete -F _consul_canaryctl consul-canaryctl
