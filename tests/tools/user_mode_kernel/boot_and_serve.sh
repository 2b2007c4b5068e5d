#!/bin/bash
# The first process of a user-mode kernel: makes what tests/tools/booted_systemd/boot.sh expects, and becomes systemd.
# BOOT_SCRIPT, BOOT_BINDS and BOOT_PYTHON, an interpreter, are set before.
set -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin BOOT_FOLDER=/run/booted BOOT_GROUP=none
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/booted
mount -t tmpfs -o size=600m,mode=755 tmpfs /run/booted
mkdir /run/booted/{upper,work,root}
load='import ctypes, sys; file = open(sys.argv[1]); sys.exit(ctypes.CDLL(None).syscall(313, file.fileno(), b"", 0))'
# finit_module(2) of x86-64, as kmod may be missing
"$BOOT_PYTHON" -I -c "$load" "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
exec bash "$BOOT_SCRIPT" system
