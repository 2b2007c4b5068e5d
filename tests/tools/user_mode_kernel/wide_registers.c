/* ptrace for a user-mode kernel that knows fewer registers than this processor has.
 *
 * Linux takes an XSTATE register set only as a whole (arch/x86/kernel/fpu/regset.c: EFAULT for another length), and
 * linux.uml of Debian 13 gives the 2696 bytes that it reserves; with AMX the whole has 11008. What it leaves out is
 * taken from the process itself, so it stays as it is. See ptrace(2), PTRACE_SETREGSET.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { WHOLE = 65536 };

long ptrace(enum __ptrace_request request, ...)
{
    static long (*real)(int, int, void *, void *);
    static char whole[WHOLE]; /* the kernel of a guest has one thread that traces */
    va_list rest;
    va_start(rest, request);
    int pid = va_arg(rest, int);
    void *address = va_arg(rest, void *);
    void *data = va_arg(rest, void *);
    va_end(rest);
    if (real == NULL)
        real = (long (*)(int, int, void *, void *))dlsym(RTLD_NEXT, "ptrace");
    long result = real(request, pid, address, data);
    if (result != -1 || errno != EFAULT || request != PTRACE_SETREGSET || address != (void *)(long)NT_X86_XSTATE)
        return result;
    struct iovec given = *(struct iovec *)data, all = {whole, WHOLE};
    if (real(PTRACE_GETREGSET, pid, address, &all) == -1)
        return -1;
    if (given.iov_len > all.iov_len) {
        errno = EFAULT;
        return -1;
    }
    memcpy(whole, given.iov_base, given.iov_len);
    return real(PTRACE_SETREGSET, pid, address, &all);
}
