#!/usr/bin/env bash
# Health check: whether GET http://localhost:PORT/PATH answers with a text in which PATTERN stands. Only bash, since images differ in what else
# they hold.  Usage: answers.sh PORT PATH PATTERN
set -u
{ exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || exit 1
printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$2" >&3
grep -q -- "$3" <&3
