/* A fault at the n-th call that changes a disk, below Python: loaded with LD_PRELOAD, armed by the process itself. */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

/* For a process that cannot arm itself: the next call after SIGUSR2 fails. */
static void on_signal(int number) {
    (void)number;
    faults_arm(1, FAIL, EIO);
}

/* Seconds that the wall clock is wrong by: the first eight bytes of a file, so that it can be stepped from outside. (libfaketime
 * slows every wait of a thread down by orders of magnitude.) */
static volatile const int64_t *clock_step;

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && clock_step)
        now->tv_sec += *clock_step;
    return result;
}

__attribute__((constructor)) static void begin(void) {
    if (getenv("FAULTS_ON_SIGUSR2"))
        signal(SIGUSR2, on_signal);
    const char *path = getenv("FAULTS_CLOCK_STEP");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        void *mapped = mmap(NULL, sizeof *clock_step, PROT_READ, MAP_SHARED, fd, 0);
        if (mapped != MAP_FAILED)
            clock_step = mapped;
        close(fd);
    }
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
