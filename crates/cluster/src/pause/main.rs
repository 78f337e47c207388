//! The first process of a node and of a pod's sandbox: waits, reaps what is left to it, ends at SIGTERM.
//! No libc and no heap: a page of code, built by `build.rs` and embedded.
#![no_std]
#![no_main]

use core::arch::asm;

const SIG_BLOCK: usize = 0;
const WNOHANG: usize = 1;
const SIGINT: isize = 2;
const SIGTERM: isize = 15;
const SIGCHLD: isize = 17;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const PROCMASK: usize = 14;
    pub const WAIT4: usize = 61;
    pub const EXIT: usize = 60;
    pub const TIMEDWAIT: usize = 128;
}

#[cfg(target_arch = "aarch64")]
mod number {
    pub const PROCMASK: usize = 135;
    pub const WAIT4: usize = 260;
    pub const EXIT: usize = 93;
    pub const TIMEDWAIT: usize = 137;
}

#[cfg(target_arch = "x86_64")]
unsafe fn syscall(n: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let out: isize;
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => out, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
             out("rcx") _, out("r11") _);
    }
    out
}

#[cfg(target_arch = "aarch64")]
unsafe fn syscall(n: usize, a: usize, b: usize, c: usize, d: usize) -> isize {
    let out: isize;
    unsafe {
        asm!("svc 0", in("x8") n, inlateout("x0") a as isize => out, in("x1") b, in("x2") c, in("x3") d);
    }
    out
}

/// Signals are blocked and taken one at a time, so that no handler is needed: as the first process of its
/// namespace it would otherwise get none at all.
#[unsafe(no_mangle)]
pub extern "C" fn _start() -> ! {
    let all: u64 = !0;
    let set = &raw const all as usize;
    unsafe {
        syscall(number::PROCMASK, SIG_BLOCK, set, 0, 8);
        loop {
            match syscall(number::TIMEDWAIT, set, 0, 0, 8) {
                SIGCHLD => while syscall(number::WAIT4, usize::MAX, 0, WNOHANG, 0) > 0 {},
                SIGTERM | SIGINT => loop {
                    syscall(number::EXIT, 0, 0, 0, 0);
                },
                _ => {}
            }
        }
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
