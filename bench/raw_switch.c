/* The bare system calls of one stay as a client, as often as is asked, read back by
 * nobody: what `threads.py` compares Stead with. It is built when the bench runs. */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns 0, or -1 if any of the calls failed. */
int stays(int times, unsigned long seal, uint32_t guard, uint32_t uid, int count,
          const uint32_t *groups, int own_count, const uint32_t *own)
{
    long failed = 0;
    for (int i = 0; i < times; i++) {
        failed |= syscall(SYS_setgroups, count, groups, 0, seal, 0, 0);
        failed |= syscall(SYS_setresgid, guard, uid, -1u, seal, 0, 0);
        failed |= syscall(SYS_setresuid, guard, uid, -1u, seal, 0, 0);
        failed |= syscall(SYS_setresuid, 0, 0, -1u, seal, 0, 0);
        failed |= syscall(SYS_setresgid, 0, 0, -1u, seal, 0, 0);
        failed |= syscall(SYS_setgroups, own_count, own, 0, seal, 0, 0);
    }
    return failed ? -1 : 0;
}
