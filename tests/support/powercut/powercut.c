/* Logs, in order, everything a process does to the files below a folder that a power cut might undo.
 *
 * Preloaded with LD_PRELOAD; POWERCUT_ROOT names the folder (absolute, without symbolic links), POWERCUT_LOG the log.
 * A log record: op (1 byte), inode (8), offset (8), length of a (4), length of b (4), a, b; little-endian.
 *   C create: a path             W write: offset, a data        T truncate: offset is the new size
 *   S sync of a file             D sync of a folder: a path     R rename: a from, b to
 *   U unlink: a path             M mkdir: a path
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root;
static size_t root_length;
static int log_file = -1;

static ssize_t (*real_write)(int, const void *, size_t);
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    real_write = REAL(write);
    root = getenv("POWERCUT_ROOT");
    const char *path = getenv("POWERCUT_LOG");
    if (root == NULL || path == NULL)
        return;
    root_length = strlen(root);
    log_file = ((int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open"))(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static int inside(const char *path)
{
    return log_file >= 0 && path != NULL && strncmp(path, root, root_length) == 0
        && (path[root_length] == '/' || path[root_length] == 0);
}

static void note(char op, uint64_t inode, uint64_t offset, const void *a, size_t a_size, const void *b, size_t b_size)
{
    int before = errno;
    uint32_t a32 = (uint32_t)a_size, b32 = (uint32_t)b_size;
    struct iovec parts[] = {
        {&op, 1}, {&inode, 8}, {&offset, 8}, {&a32, 4}, {&b32, 4}, {(void *)a, a_size}, {(void *)b, b_size},
    };
    /* One appending call, so that the records of several processes do not mix. */
    if (writev(log_file, parts, 7) != (ssize_t)(25 + a_size + b_size))
        abort();
    errno = before;
}

static void note_path(char op, const char *path)
{
    note(op, 0, 0, path, strlen(path), NULL, 0);
}

/* Asked anew each time: a table of descriptors would be spoilt by children between vfork and exec. */
static int path_below(int fd, struct stat *status, char path[PATH_MAX])
{
    char link[32];
    int before = errno;
    ssize_t size = -1;
    if (log_file >= 0 && fstat(fd, status) == 0 && (S_ISREG(status->st_mode) || S_ISDIR(status->st_mode))) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        size = readlink(link, path, PATH_MAX - 1);
    }
    errno = before;
    if (size < 0)
        return 0;
    path[size] = 0;
    return inside(path);
}

static uint64_t inode_of(int fd)
{
    struct stat status;
    char path[PATH_MAX];
    return path_below(fd, &status, path) && S_ISREG(status.st_mode) ? status.st_ino : 0;
}

static void note_opened(int fd, const char *path, int flags, int existed)
{
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || S_ISDIR(status.st_mode))
        return;
    if (!existed)
        note('C', status.st_ino, 0, path, strlen(path), NULL, 0);
    else if (flags & O_TRUNC)
        note('T', status.st_ino, 0, NULL, 0, NULL, 0);
}

#define OPEN(NAME, PARAMETERS, ARGUMENTS)                                                       \
    int NAME PARAMETERS                                                                         \
    {                                                                                           \
        mode_t mode = 0;                                                                        \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                    \
            va_list more;                                                                       \
            va_start(more, flags);                                                              \
            mode = va_arg(more, mode_t);                                                        \
            va_end(more);                                                                       \
        }                                                                                       \
        int (*real) PARAMETERS = (int (*) PARAMETERS)dlsym(RTLD_NEXT, #NAME);                   \
        if (!inside(path))                                                                      \
            return real ARGUMENTS;                                                              \
        pthread_mutex_lock(&lock);                                                              \
        struct stat status;                                                                     \
        int existed = stat(path, &status) == 0;                                                 \
        int fd = real ARGUMENTS;                                                                \
        int error = errno;                                                                      \
        note_opened(fd, path, flags, existed);                                                     \
        errno = error;                                                                          \
        pthread_mutex_unlock(&lock);                                                            \
        return fd;                                                                              \
    }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))

ssize_t write(int fd, const void *data, size_t size)
{
    if (inode_of(fd) == 0)
        return real_write(fd, data, size);
    pthread_mutex_lock(&lock);
    ssize_t done = real_write(fd, data, size);
    if (done > 0)
        note('W', inode_of(fd), (uint64_t)(lseek(fd, 0, SEEK_CUR) - done), data, (size_t)done, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

#define PWRITE(NAME, OFFSET)                                                                    \
    ssize_t NAME(int fd, const void *data, size_t size, OFFSET offset)                          \
    {                                                                                           \
        if (inode_of(fd) == 0)                                                                  \
            return REAL(NAME)(fd, data, size, offset);                                          \
        pthread_mutex_lock(&lock);                                                              \
        ssize_t done = REAL(NAME)(fd, data, size, offset);                                      \
        if (done > 0)                                                                           \
            note('W', inode_of(fd), (uint64_t)offset, data, (size_t)done, NULL, 0);             \
        pthread_mutex_unlock(&lock);                                                            \
        return done;                                                                            \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define TRUNCATE(NAME, OFFSET)                                                                  \
    int NAME(int fd, OFFSET size)                                                               \
    {                                                                                           \
        if (inode_of(fd) == 0)                                                                  \
            return REAL(NAME)(fd, size);                                                        \
        pthread_mutex_lock(&lock);                                                              \
        int result = REAL(NAME)(fd, size);                                                      \
        if (result == 0)                                                                        \
            note('T', inode_of(fd), (uint64_t)size, NULL, 0, NULL, 0);                          \
        pthread_mutex_unlock(&lock);                                                            \
        return result;                                                                          \
    }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

#define SYNC(NAME)                                                                              \
    int NAME(int fd)                                                                            \
    {                                                                                           \
        pthread_mutex_lock(&lock);                                                              \
        int result = REAL(NAME)(fd);                                                            \
        struct stat status;                                                                     \
        char path[PATH_MAX];                                                                    \
        if (result == 0 && path_below(fd, &status, path)) {                                     \
            if (S_ISDIR(status.st_mode))                                                        \
                note_path('D', path);                                                           \
            else                                                                                \
                note('S', status.st_ino, 0, NULL, 0, NULL, 0);                                  \
        }                                                                                       \
        pthread_mutex_unlock(&lock);                                                            \
        return result;                                                                          \
    }

SYNC(fsync)
SYNC(fdatasync)

#define ON_PATH(NAME, OP, PARAMETERS, ARGUMENTS)                                                \
    int NAME PARAMETERS                                                                         \
    {                                                                                           \
        pthread_mutex_lock(&lock);                                                              \
        int result = REAL(NAME) ARGUMENTS;                                                      \
        if (result == 0 && inside(path))                                                        \
            note_path(OP, path);                                                                \
        pthread_mutex_unlock(&lock);                                                            \
        return result;                                                                          \
    }

ON_PATH(unlink, 'U', (const char *path), (path))
ON_PATH(unlinkat, 'U', (int folder, const char *path, int flags), (folder, path, flags))
ON_PATH(mkdir, 'M', (const char *path, mode_t mode), (path, mode))
ON_PATH(mkdirat, 'M', (int folder, const char *path, mode_t mode), (folder, path, mode))

#define RENAME(NAME, PARAMETERS, ARGUMENTS)                                                     \
    int NAME PARAMETERS                                                                         \
    {                                                                                           \
        pthread_mutex_lock(&lock);                                                              \
        int result = REAL(NAME) ARGUMENTS;                                                      \
        if (result == 0 && inside(from))                                                        \
            note('R', 0, 0, from, strlen(from), to, strlen(to));                                \
        pthread_mutex_unlock(&lock);                                                            \
        return result;                                                                          \
    }

RENAME(rename, (const char *from, const char *to), (from, to))
RENAME(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
