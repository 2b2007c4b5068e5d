#!/usr/bin/env bash
# Become a systemd of one's own: called twice by tests/hosts/booted_systemd.py, in namespaces that it has made.
#   boot.sh group    in new mount, pid, net, uts and ipc namespaces: enter the control group BOOT_GROUP
#   boot.sh system   in a new cgroup namespace too: make the root of the machine, and exec systemd in it
# BOOT_FOLDER is an empty folder; BOOT_BINDS has lines "FROM TO": folders that are there read-only. BOOT_ROOT is the
# folder whose files it has, in place of those of this machine.
set -euo pipefail

# What could change the machine below: its clock, modules, devices, kernel log and audit.
RIGHTS=-sys_time,-sys_module,-sys_rawio,-mknod,-syslog,-wake_alarm,-block_suspend,-audit_control,-audit_read,-mac_admin,-mac_override
ROOT=$BOOT_FOLDER/root
UNITS=$ROOT/etc/systemd/system

enter_group() {
    mount --make-rprivate /
    mount -t tmpfs -o size=1g,mode=755 tmpfs "$BOOT_FOLDER"
    mkdir "$BOOT_FOLDER"/{upper,work,root,groups}
    mount -t cgroup2 cgroup2 "$BOOT_FOLDER/groups"
    echo $$ >"$BOOT_FOLDER/groups/$BOOT_GROUP/cgroup.procs"
    umount "$BOOT_FOLDER/groups"
    exec unshare --cgroup bash "$0" system
}

lay_files() { # all files of the machine or of another root, copy-on-write, and some folders beside them
    mount -t overlay overlay -o "lowerdir=${BOOT_ROOT:-/},upperdir=$BOOT_FOLDER/upper,workdir=$BOOT_FOLDER/work" "$ROOT"
    while read -r from to; do
        [ -n "$from" ] || continue
        mkdir -p "$ROOT$to"
        mount --bind "$from" "$ROOT$to"
        mount -o remount,bind,ro "$ROOT$to"
    done <<<"${BOOT_BINDS-}"
}

mount_kernel_files() { # /proc, /sys and /dev: what is the machine's is read-only
    mount -t proc -o nosuid,nodev,noexec proc "$ROOT/proc"
    for name in sys sysrq-trigger; do
        [ -e "$ROOT/proc/$name" ] || continue
        mount --bind "$ROOT/proc/$name" "$ROOT/proc/$name"
        mount -o remount,bind,ro "$ROOT/proc/$name"
    done
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$ROOT/sys"
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$ROOT/sys/fs/cgroup"
    mount -t tmpfs -o mode=755,size=1m,nosuid tmpfs "$ROOT/dev"
    for name in null zero full random urandom tty; do
        : >"$ROOT/dev/$name"
        mount --bind "/dev/$name" "$ROOT/dev/$name"
    done
    mkdir "$ROOT"/dev/{pts,shm}
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$ROOT/dev/pts"
    mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$ROOT/dev/shm"
    ln -s pts/ptmx "$ROOT/dev/ptmx"
    ln -s /proc/self/fd "$ROOT/dev/fd"
    for number in 0 1 2; do
        names=(stdin stdout stderr)
        ln -s "/proc/self/fd/$number" "$ROOT/dev/${names[number]}"
    done
}

leave_out() { # none of the machine's own services, and none of systemd's for hardware
    mount -t tmpfs -o mode=755,size=128m,nosuid,nodev tmpfs "$ROOT/run"
    mount -t tmpfs -o mode=755,size=8m tmpfs "$UNITS"
    mount -t tmpfs -o ro,size=4k tmpfs "$ROOT/usr/lib/systemd/system-generators"
    local unit
    for unit in \
        {tmp,dev-hugepages,sys-fs-fuse-connections,sys-kernel-config,sys-kernel-debug,sys-kernel-tracing}.mount \
        proc-sys-fs-binfmt_misc.automount systemd-tmpfiles-clean.timer \
        {systemd-udevd-control,systemd-udevd-kernel,systemd-importd,systemd-hostnamed,systemd-sysext,systemd-initctl}.socket \
        {kmod-static-nodes,ldconfig}.service \
        systemd-{binfmt,firstboot,hibernate-clear,hwdb-update,journal-catalog-update,machine-id-commit}.service \
        systemd-{modules-load,random-seed,sysctl,sysusers,udev-trigger,udevd,update-done}.service \
        systemd-tmpfiles-{setup,setup-dev,setup-dev-early,clean}.service; do
        ln -s /dev/null "$UNITS/$unit"
    done
    mkdir -p "$ROOT/etc/systemd/journald.conf.d" "$ROOT/run/lock" "$ROOT/run/log/journal"
    printf '[Journal]\nStorage=volatile\nAudit=no\nRateLimitBurst=0\nForwardToSyslog=no\n' \
        >"$ROOT/etc/systemd/journald.conf.d/99-test.conf"
}

become_system() {
    lay_files
    mount_kernel_files
    leave_out
    ip link set lo up
    echo booted >/proc/sys/kernel/hostname
    cd "$ROOT"
    mkdir -p mnt
    pivot_root . mnt
    umount -l /mnt
    mount --make-rshared / # credentials reach a service by propagation: without this their folder is empty
    exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin setpriv --bounding-set="$RIGHTS" \
        /usr/lib/systemd/systemd --unit=basic.target --log-target=journal --show-status=0 \
        --default-standard-output=journal </dev/null >/dev/null 2>&1
}

case $1 in
group) enter_group ;;
system) become_system ;;
esac
