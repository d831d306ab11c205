set -eu
case $- in *e*) echo e ;; esac
case $- in *u*) echo u ;; esac
set +eu
case $- in *[eu]*) echo still ;; *) echo off ;; esac
