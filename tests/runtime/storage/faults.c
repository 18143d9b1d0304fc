/* A fault at the n-th call that changes a disk, below Python: loaded with LD_PRELOAD, armed by the process itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

enum { NONE, KILL_BEFORE, KILL_AFTER, KILL_HALFWAY, FAIL, SHORT };

static long calls, fault_at;
static int fault, fault_errno;

void faults_arm(long at, int kind, int error) {
    calls = 0;
    fault_at = at;
    fault = kind;
    fault_errno = error;
}

long faults_calls(void) { return calls; }

static int now(void) { return ++calls == fault_at ? fault : NONE; }

static void end(void) { kill(getpid(), SIGKILL); }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define SIMPLE(type, name, parameters, arguments)        \
    type name parameters {                               \
        int kind = now();                                \
        if (kind == KILL_BEFORE || kind == KILL_HALFWAY) \
            end();                                       \
        if (kind == FAIL) {                              \
            errno = fault_errno;                         \
            return -1;                                   \
        }                                                \
        type result = REAL(name) arguments;              \
        if (kind == KILL_AFTER)                          \
            end();                                       \
        return result;                                   \
    }

/* A kill leaves the page cache, so nothing has to reach the disk here; test_power.py is about what a power cut leaves. */
#define SYNC(name)                  \
    static int no_##name(int fd) {  \
        (void)fd;                   \
        return 0;                   \
    }
SYNC(fsync)
SYNC(fdatasync)
#undef REAL
#define REAL(name) no_##name
SIMPLE(int, fsync, (int fd), (fd))
SIMPLE(int, fdatasync, (int fd), (fd))
#undef REAL
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
SIMPLE(int, rename, (const char *from, const char *to), (from, to))
SIMPLE(int, unlink, (const char *path), (path))

#define WRITE(name, offset_type)                                                       \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) {          \
        int kind = now();                                                              \
        if (kind == KILL_BEFORE)                                                       \
            end();                                                                     \
        if (kind == FAIL) {                                                            \
            errno = fault_errno;                                                       \
            return -1;                                                                 \
        }                                                                              \
        size_t part = (kind == SHORT || kind == KILL_HALFWAY) && size > 1 ? size / 2 : size; \
        ssize_t result = REAL(name)(fd, data, part, offset);                           \
        if (kind == KILL_AFTER || kind == KILL_HALFWAY)                                \
            end();                                                                     \
        return result;                                                                 \
    }

WRITE(pwrite, off_t)
WRITE(pwrite64, off64_t)
