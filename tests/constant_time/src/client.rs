//! What valgrind's memory checker can be told by the program that it checks: "client requests", from `valgrind.h` and
//! `memcheck.h`.

/// `'M' << 24 | 'C' << 16`, and the number of the request.
const MAKE_MEM_UNDEFINED: usize = 0x4D43_0001;
const MAKE_MEM_DEFINED: usize = 0x4D43_0002;

/// Reports from now on whatever depends on these bytes.
pub fn make_undefined<T>(memory: &[T]) {
    request(MAKE_MEM_UNDEFINED, memory);
}

/// Reports nothing that depends on these bytes any more.
pub fn make_defined<T>(memory: &mut [T]) {
    request(MAKE_MEM_DEFINED, memory);
}

fn request<T>(number: usize, memory: &[T]) {
    let request = [number, memory.as_ptr() as usize, size_of_val(memory), 0, 0, 0];
    #[cfg(target_arch = "x86_64")]
    // SAFETY: to a processor, four rotations that come to nothing and an exchange of a register with itself. Valgrind
    // takes them for a request, reads it, and changes `rdx` alone.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdi") 0usize => _,
            inout("rdx") 0usize => _,
            in("rax") request.as_ptr(),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above, by rotations of `x12`; valgrind changes `x3` alone.
    unsafe {
        core::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            inout("x12") 0usize => _,
            inout("x3") 0usize => _,
            in("x4") request.as_ptr(),
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    compile_error!("client requests are written down for x86-64 and AArch64 only");
}
