#!/bin/sh
# ps_server_test.sh TEST.py BINARY
PS_SERVER="$2" exec python3 "$1" -v
