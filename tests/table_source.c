/* A source of users and groups for tests (nss(5)) that knows and does what stands in the
   file TABLE, which is read at each question. Its lines, in names of which %XX is a byte:

     U name uid gid          a user
     G name gid              a group
     M name gid              the user is in the group
     R name first count      the user is in so many groups, from the first one on
     A function key name     that question is answered with the user of that name
     F function key status   that question has another answer, with errno ECONNREFUSED
     H function key          that question has no answer, while the line is there
     T function key file     after that question, `file` is the table

   The last two and F count for every key where that is `*`. Built with -DNAME=... */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOIN_(a, b) _nss_##a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define OURS(b) JOIN(NAME, b)

struct line { char kind; char first[512]; char second[512]; char third[512]; };

static int next(FILE *file, struct line *line) {
    char room[2048];
    while (fgets(room, sizeof room, file)) {
        line->first[0] = line->second[0] = line->third[0] = 0;
        if (sscanf(room, "%c %511s %511s %511s", &line->kind, line->first, line->second,
                   line->third) >= 3)
            return 1;
    }
    return 0;
}

static void decode(const char *text, char *room) {
    for (; *text; text++) {
        unsigned code;
        if (*text == '%' && sscanf(text + 1, "%2x", &code) == 1) {
            *room++ = (char)code;
            text += 2;
        } else
            *room++ = *text;
    }
    *room = 0;
}

static int same(const char *written, const char *name) {
    char room[512];
    decode(written, room);
    return !strcmp(room, name);
}

/* Find a line of a kind about a question, or about every one of its function. */
static int about(char kind, const char *function, const char *key, struct line *line) {
    FILE *file = fopen(TABLE, "r");
    int found = 0;
    while (file && !found && next(file, line))
        found = line->kind == kind && !strcmp(line->first, function) &&
                (!strcmp(line->second, "*") || same(line->second, key));
    if (file) fclose(file);
    return found;
}

static enum nss_status before(const char *function, const char *key, int *error) {
    struct line line;
    while (about('H', function, key, &line)) usleep(2000);
    *error = ECONNREFUSED;
    if (about('F', function, key, &line)) return atoi(line.third);
    *error = ENOENT;
    return NSS_STATUS_SUCCESS;
}

static void after(const char *function, const char *key) {
    struct line line;
    if (about('T', function, key, &line)) rename(line.third, TABLE);
}

static enum nss_status user(const char *function, const char *key, int by_number,
                            struct passwd *entry, char *room, size_t size, int *error) {
    struct line line, answer;
    int is_answered = about('A', function, key, &answer);
    enum nss_status status = before(function, key, error);
    if (status != NSS_STATUS_SUCCESS) return status;
    if (size < 1024) {
        *error = ERANGE;
        return NSS_STATUS_TRYAGAIN;
    }
    status = NSS_STATUS_NOTFOUND;
    FILE *file = fopen(TABLE, "r");
    while (file && status != NSS_STATUS_SUCCESS && next(file, &line)) {
        if (line.kind != 'U') continue;
        if (is_answered ? strcmp(line.first, answer.third)
            : by_number ? strcmp(line.second, key)
                        : !same(line.first, key))
            continue;
        decode(line.first, room);
        entry->pw_name = strcmp(line.first, "NULL") ? room : NULL;
        entry->pw_uid = strtoul(line.second, NULL, 10);
        entry->pw_gid = strtoul(line.third, NULL, 10);
        entry->pw_passwd = entry->pw_gecos = entry->pw_shell = "";
        entry->pw_dir = "/";
        status = NSS_STATUS_SUCCESS;
    }
    if (file) fclose(file);
    after(function, key);
    return status;
}

enum nss_status OURS(getpwuid_r)(uid_t uid, struct passwd *entry, char *room,
                                 size_t size, int *error) {
    char key[32];
    snprintf(key, sizeof key, "%u", uid);
    return user("getpwuid", key, 1, entry, room, size, error);
}

enum nss_status OURS(getpwnam_r)(const char *name, struct passwd *entry, char *room,
                                 size_t size, int *error) {
    return user("getpwnam", name, 0, entry, room, size, error);
}

static char *nobody[] = {NULL};

static enum nss_status group(const char *function, const char *key, int by_number,
                             struct group *entry, char *room, size_t size, int *error) {
    struct line line;
    enum nss_status status = before(function, key, error);
    if (status != NSS_STATUS_SUCCESS) return status;
    if (size < 1024) {
        *error = ERANGE;
        return NSS_STATUS_TRYAGAIN;
    }
    status = NSS_STATUS_NOTFOUND;
    FILE *file = fopen(TABLE, "r");
    while (file && status != NSS_STATUS_SUCCESS && next(file, &line)) {
        if (line.kind != 'G') continue;
        if (by_number ? strcmp(line.second, key) : !same(line.first, key)) continue;
        decode(line.first, room);
        entry->gr_name = strcmp(line.first, "NULL") ? room : NULL;
        entry->gr_gid = strtoul(line.second, NULL, 10);
        entry->gr_passwd = "";
        entry->gr_mem = nobody;
        status = NSS_STATUS_SUCCESS;
    }
    if (file) fclose(file);
    return status;
}

enum nss_status OURS(getgrgid_r)(gid_t gid, struct group *entry, char *room,
                                 size_t size, int *error) {
    char key[32];
    snprintf(key, sizeof key, "%u", gid);
    return group("getgrgid", key, 1, entry, room, size, error);
}

enum nss_status OURS(getgrnam_r)(const char *name, struct group *entry, char *room,
                                 size_t size, int *error) {
    return group("getgrnam", name, 0, entry, room, size, error);
}

static void add(gid_t gid, long *number, long *size, gid_t **groups) {
    if (*number == *size) {
        *size = *size * 2 + 1;
        *groups = realloc(*groups, *size * sizeof(gid_t));
    }
    (*groups)[(*number)++] = gid;
}

enum nss_status OURS(initgroups_dyn)(const char *name, gid_t skipped, long *number,
                                     long *size, gid_t **groups, long limit,
                                     int *error) {
    struct line line;
    /* What it has found until then stands in the list, whatever it says. */
    FILE *file = fopen(TABLE, "r");
    long begun = *number;
    while (file && next(file, &line)) {
        if (!strchr("MR", line.kind) || !same(line.first, name)) continue;
        unsigned long gid = strtoul(line.second, NULL, 10);
        long count = line.kind == 'R' ? atol(line.third) : 1;
        while (count--) add(gid++, number, size, groups);
    }
    if (file) fclose(file);
    enum nss_status status = before("initgroups", name, error);
    after("initgroups", name);
    if (status != NSS_STATUS_SUCCESS) return status;
    return *number == begun ? NSS_STATUS_NOTFOUND : NSS_STATUS_SUCCESS;
}
