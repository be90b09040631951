/* Counts, fails, kills at or records the calls that change files under one folder. Preloaded (LD_PRELOAD), armed through
 * ctypes; what is not armed passes. Calls: opening to write, write, truncate, allocate, fsync, rename, mkdir; removals
 * are recorded and never fail. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static long at, count;
static int error_number, stays, log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* nth: the call that fails (0: none); stays: all after it fail too; number 0: SIGKILL instead of an error. */
void calls_arm(const char *folder, long nth, int number, int all_after, const char *log) {
    at = nth, error_number = number, stays = all_after, count = 0;
    log_fd = log[0] ? (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    strncpy(root, folder, sizeof(root) - 1);
}

long calls_count(void) { return count; }

static int is_inside(const char *path) {
    size_t length = strlen(root);
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static const char *absolute(int folder, const char *path, char *buffer) {
    char name[64];
    ssize_t length;
    if (path[0] == '/') return path;
    if (folder == AT_FDCWD) {
        if (!getcwd(buffer, PATH_MAX)) return path;
    } else {
        snprintf(name, sizeof(name), "/proc/self/fd/%d", folder);
        if ((length = readlink(name, buffer, PATH_MAX - 1)) < 0) return path;
        buffer[length] = 0;
    }
    strncat(buffer, "/", PATH_MAX - strlen(buffer) - 1);
    strncat(buffer, path, PATH_MAX - strlen(buffer) - 1);
    return buffer;
}

static int of_handle(int handle, char *path) {
    char name[64];
    ssize_t length;
    if (!root[0] || handle == log_fd) return 0;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", handle);
    if ((length = readlink(name, path, PATH_MAX - 1)) < 0) return 0;
    path[length] = 0;
    return is_inside(path);
}

/* Whether this call fails; errno says how. */
static int fails(void) {
    count++;
    if (at && (count == at || (stays && count > at))) {
        if (!error_number) kill(getpid(), SIGKILL);
        errno = error_number;
        return 1;
    }
    return 0;
}

static void put(const void *data, size_t length) {
    const char *from = data;
    while (length > 0) {
        ssize_t done = syscall(SYS_write, log_fd, from, length);
        if (done <= 0) return;
        from += done, length -= done;
    }
}

static void record(const char *what, const char *path, const char *other, long long offset, const void *data, size_t size) {
    char line[2 * PATH_MAX + 128];
    if (log_fd < 0) return;
    int length = snprintf(line, sizeof(line), "%s\t%s\t%s\t%lld\t%zu\n", what, path, other, offset, data ? size : 0);
    put(line, length);
    if (data) put(data, size);
}

static int opened(int folder, const char *path, int flags, mode_t mode, int (*real)(int, const char *, int, mode_t)) {
    char buffer[PATH_MAX];
    int saved = errno;
    if (!root[0] || !(flags & (O_WRONLY | O_RDWR))) return real(folder, path, flags, mode);
    const char *whole = absolute(folder, path, buffer);
    if (!is_inside(whole)) return real(folder, path, flags, mode);
    if (fails()) return -1;
    int existed = access(whole, F_OK) == 0;
    errno = saved;
    int handle = real(folder, path, flags, mode);
    if (handle >= 0 && !existed) record("create", whole, "", 0, NULL, 0);
    if (handle >= 0 && existed && (flags & O_TRUNC)) record("truncate", whole, "", 0, NULL, 0);
    return handle;
}

static int real_openat(int folder, const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define OPENER(name, given, folder)                                                                                    \
    int name(given const char *path, int flags, ...) {                                                                 \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opened(folder, path, flags, mode, real_openat);                                                         \
    }
#define COMMA ,
OPENER(open, , AT_FDCWD)
OPENER(open64, , AT_FDCWD)
OPENER(openat, int folder COMMA, folder)
OPENER(openat64, int folder COMMA, folder)

int creat(const char *path, mode_t mode) {
    return opened(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode, real_openat);
}

static FILE *stream_of(const char *path, const char *mode, FILE *(*real)(const char *, const char *)) {
    char buffer[PATH_MAX];
    if (!root[0] || mode[0] == 'r') return real(path, mode);
    const char *whole = absolute(AT_FDCWD, path, buffer);
    if (!is_inside(whole)) return real(path, mode);
    if (fails()) return NULL;
    int existed = access(whole, F_OK) == 0;
    FILE *stream = real(path, mode);
    if (stream && !existed) record("create", whole, "", 0, NULL, 0);
    if (stream && existed && mode[0] == 'w') record("truncate", whole, "", 0, NULL, 0);
    return stream;
}
FILE *fopen(const char *path, const char *mode) { return stream_of(path, mode, REAL(fopen)); }
FILE *fopen64(const char *path, const char *mode) { return stream_of(path, mode, REAL(fopen64)); }

static long long place_of(int handle) {
    struct stat about;
    if ((fcntl(handle, F_GETFL) & O_APPEND) && !fstat(handle, &about)) return about.st_size;
    return lseek(handle, 0, SEEK_CUR);
}

ssize_t write(int handle, const void *data, size_t size) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return syscall(SYS_write, handle, data, size);
    if (fails()) return -1;
    long long place = place_of(handle);
    ssize_t done = syscall(SYS_write, handle, data, size);
    if (done > 0) record("write", path, "", place, data, done);
    return done;
}

ssize_t pwrite64(int handle, const void *data, size_t size, off64_t place) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return syscall(SYS_pwrite64, handle, data, size, place);
    if (fails()) return -1;
    ssize_t done = syscall(SYS_pwrite64, handle, data, size, place);
    if (done > 0) record("write", path, "", place, data, done);
    return done;
}
ssize_t pwrite(int handle, const void *data, size_t size, off_t place) { return pwrite64(handle, data, size, place); }

ssize_t writev(int handle, const struct iovec *parts, int number) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return syscall(SYS_writev, handle, parts, number);
    ssize_t whole = 0;
    for (int part = 0; part < number; part++) { /* one after another, so that each is recorded */
        if (!parts[part].iov_len) continue;
        ssize_t done = write(handle, parts[part].iov_base, parts[part].iov_len);
        if (done < 0) return whole ? whole : -1;
        whole += done;
        if ((size_t)done < parts[part].iov_len) break;
    }
    return whole;
}

/* What is synced: a file's bytes, or the names in a folder, a line each. Written out, since some libraries rename by
 * system calls of their own, which nothing here sees. */
static void record_sync(const char *path) {
    struct stat about;
    char *data = NULL;
    size_t size = 0;
    if (log_fd < 0 || stat(path, &about)) return;
    FILE *stream = open_memstream(&data, &size);
    DIR *folder = S_ISDIR(about.st_mode) ? opendir(path) : NULL;
    for (struct dirent *entry; folder && (entry = readdir(folder));) fprintf(stream, "%s\n", entry->d_name);
    if (folder) closedir(folder);
    int file = folder ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    char block[1 << 16];
    for (ssize_t got; file >= 0 && (got = syscall(SYS_read, file, block, sizeof(block))) > 0;)
        fwrite(block, 1, (size_t)got, stream);
    if (file >= 0) syscall(SYS_close, file);
    fclose(stream);
    record("sync", path, "", 0, data, size);
    free(data);
}

static int synced(int handle, long call) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return (int)syscall(call, handle);
    if (fails()) return -1;
    int done = (int)syscall(call, handle);
    if (!done) record_sync(path);
    return done;
}
int fsync(int handle) { return synced(handle, SYS_fsync); }
int fdatasync(int handle) { return synced(handle, SYS_fdatasync); }

int ftruncate64(int handle, off64_t size) {
    char path[PATH_MAX];
    if (!of_handle(handle, path)) return (int)syscall(SYS_ftruncate, handle, size);
    if (fails()) return -1;
    int done = (int)syscall(SYS_ftruncate, handle, size);
    if (!done) record("resize", path, "", size, NULL, 0);
    return done;
}
int ftruncate(int handle, off_t size) { return ftruncate64(handle, size); }

int renameat2(int one, const char *from, int other, const char *to, unsigned flags) {
    char before[PATH_MAX], after[PATH_MAX];
    const char *old = absolute(one, from, before), *new = absolute(other, to, after);
    if (!root[0] || !(is_inside(old) || is_inside(new))) return (int)syscall(SYS_renameat2, one, from, other, to, flags);
    if (fails()) return -1;
    int done = (int)syscall(SYS_renameat2, one, from, other, to, flags);
    if (!done) record("rename", old, new, 0, NULL, 0);
    return done;
}
int renameat(int one, const char *from, int other, const char *to) { return renameat2(one, from, other, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int mkdirat(int folder, const char *path, mode_t mode) {
    char buffer[PATH_MAX];
    const char *whole = absolute(folder, path, buffer);
    if (!root[0] || !is_inside(whole) || access(whole, F_OK) == 0) return (int)syscall(SYS_mkdirat, folder, path, mode);
    if (fails()) return -1;
    int done = (int)syscall(SYS_mkdirat, folder, path, mode);
    if (!done) record("mkdir", whole, "", 0, NULL, 0);
    return done;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int unlinkat(int folder, const char *path, int flags) {
    char buffer[PATH_MAX];
    const char *whole = absolute(folder, path, buffer);
    int done = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (!done && root[0] && is_inside(whole)) record("unlink", whole, "", 0, NULL, 0);
    return done;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
