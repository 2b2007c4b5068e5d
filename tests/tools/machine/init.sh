#!/bin/busybox sh
# The first program of the virtual machine: the files of the machine below, read-only, with memory over them. Then it
# runs /given/tests, and powers off.
busybox=/bin/busybox
new=/new
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devices /dev
for module in /modules/*; do
    case $module in
    *-vivid.ko) $busybox insmod "$module" n_devs=1 node_types=0x1 num_inputs=1 input_types=0x0 ;; # one webcam
    *) $busybox insmod "$module" ;;
    esac || echo "cannot load $module"
done
# Nobody changes these files meanwhile, so what was read once is not asked for again.
$busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 root /lower
$busybox mount -t tmpfs -o mode=755,size=60% memory /memory
$busybox mkdir /memory/upper /memory/work
$busybox mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work overlay $new
$busybox mount -t tmpfs -o mode=755 run $new/run
$busybox cp /given/tests $new/run/tests
$busybox mount --move /dev $new/dev
$busybox mount --move /sys $new/sys
$busybox mount --move /proc $new/proc
# After a sleep nothing more can be read from the machine below: qemu has begun its devices anew, and 9p has not.
exec $busybox switch_root $new /bin/sh -c '/run/tests; echo o >/proc/sysrq-trigger; read -r _'
