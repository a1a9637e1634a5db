#!/bin/sh
# Fails if a committed file names a package registry's host or a path of one
# machine: neither means anything on the next one.
set -eu
cd "$(dirname "$0")/.."

host='(^|[^[:alnum:].-])(proxy|sum|registry|deb|security|index)\.[a-z-]+\.(org|com|io|dev)'
path='(^|[^[:alnum:]._/}-])/(root|home|work|tmp|Users)/'
! git grep --untracked -nIE "$host|$path|\"resolved\":" | grep -vE '\.example\.(org|com)'
