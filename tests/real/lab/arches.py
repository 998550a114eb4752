"""The architectures of lab guests: what runs them, what they boot, and how they are told to do it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Arch:
    """One architecture, in the terms of QEMU and of the lab's directories."""

    program: str              # QEMU's, without "qemu-system-"
    kernel: str = "kernel"    # directory of the lab that holds vmlinuz, modules and, if not x86, busybox
    console: str = "ttyS0"    # Linux's name of the serial port
    firmware: str = ""        # what the firmware says last; empty if the board has none
    firmware_log: str = "console.log"
    default_cpu: str = ""
    emulators: str = "qemu10-more"  # directory of the lab that holds its QEMU 10
    extra: tuple[str, ...] = ()


X86 = Arch("x86_64", firmware="No bootable device", firmware_log="firmware.log", emulators="qemu10",
           # crash 8.0.2 and Volatility 3 do not follow five levels
           default_cpu="max,la57=off")
# An emulator of its own: its guests' registers are 32 bits wide in a save.
I386 = Arch("i386", "guest-i386", firmware="No bootable device", firmware_log="firmware.log", emulators="qemu10")
AARCH64 = Arch("aarch64", "guest-arm64", "ttyAMA0", default_cpu="cortex-a72")
# Not able to boot, the firmware stops all CPUs, on which QEMU would exit.
S390X = Arch("s390x", "guest-s390x", "ttysclp0", "No virtio device found", extra=("-action", "panic=pause"))
PPC64 = Arch("ppc64", "guest-ppc64el", "hvc0", "Welcome to Open Firmware")
# Newer kernels: addresses of 52 bits; an image that is not at its physical address; pages of 4 KiB. All with BTF.
NEW_AARCH64 = replace(AARCH64, kernel="guest-arm64-new")
NEW_S390X = replace(S390X, kernel="guest-s390x-new")
NEW_PPC64 = replace(PPC64, kernel="guest-ppc64el-new")
RISCV64 = Arch("riscv64", "guest-riscv64", "ttyS0", "Boot HART MEDELEG")
