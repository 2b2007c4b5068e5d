#!/bin/sh
# A kettle: a component of a host of tlsrt, in nothing but the shell. It reads requests of JSON-RPC on its descriptor 3,
# one in a line, and answers there; what it writes elsewhere is in the component's log.

trap 'echo "the kettle is off"; exit 0' TERM
echo "the kettle is on"

argument() { # the number that the line has under this name
    rest=${line#*"\"$1\":"}
    printf '%s' "${rest%%[,\}]*}"
}

while read -r line <&3; do
    id=$(argument id)
    case $line in
    *'"method":"boil"'*)
        litres=$(argument litres)
        printf '{"jsonrpc":"2.0","method":"event","params":{"topic":"boiled","value":%s}}\n' "$litres" >&3
        printf '{"jsonrpc":"2.0","id":%s,"result":"%s litres are hot"}\n' "$id" "$litres" >&3
        ;;
    *'"method":"cancel"'*) ;; # a caller has given up; there is nothing to stop here
    *) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"unknown"}}\n' "$id" >&3 ;;
    esac
done
