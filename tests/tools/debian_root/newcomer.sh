#!/bin/sh
# Run a command in another root, with processes of its own and this machine's network: newcomer.sh ROOT COMMAND...
# Called in new mount and pid namespaces. Not by chroot: there no user namespace could be made.
set -e
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/run"
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do # how this machine reaches PyPI
    mkdir -p "$root${file%/*}"
    [ -e "$root$file" ] || : >"$root$file"
    mount --bind "$file" "$root$file"
done
cd "$root"
mkdir -p mnt
pivot_root . mnt
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 CI=true \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt UV_NATIVE_TLS=1 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "$@"
