/* A source of users and groups for tests (nss(5)): one user, "dora", uid 70500, whose
   groups beside her own are 70601 and 70602. She is found by 70599 as well, as in a
   directory whose entry has two numbers, and so is the group "keepers", by 70699. What it answers stands in the file STATE:
   up, down, busy or empty. Built with -DNAME=..., with -DENUMERATES it knows no user's
   groups by itself. */
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOIN_(a, b) _nss_##a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define OURS(b) JOIN(NAME, b)

static enum nss_status now(int *error) {
    char word[8] = "";
    FILE *file = fopen(STATE, "r");
    if (file) {
        if (!fgets(word, sizeof word, file)) word[0] = 0;
        fclose(file);
    }
    *error = ECONNREFUSED;
    if (!strncmp(word, "down", 4)) return NSS_STATUS_UNAVAIL;
    *error = EAGAIN;
    if (!strncmp(word, "busy", 4)) return NSS_STATUS_TRYAGAIN;
    *error = ENOENT;
    return strncmp(word, "up", 2) ? NSS_STATUS_NOTFOUND : NSS_STATUS_SUCCESS;
}

static enum nss_status user(struct passwd *entry, char *room, size_t size, int *error) {
    if (size < 20000) { /* an entry too long for the first buffer */
        *error = ERANGE;
        return NSS_STATUS_TRYAGAIN;
    }
    strcpy(room, "dora");
    entry->pw_name = room;
    entry->pw_passwd = entry->pw_gecos = "";
    entry->pw_uid = entry->pw_gid = 70500;
    entry->pw_dir = "/home/dora";
    entry->pw_shell = "";
    return NSS_STATUS_SUCCESS;
}

enum nss_status OURS(getpwuid_r)(uid_t uid, struct passwd *entry, char *room,
                                 size_t size, int *error) {
    enum nss_status status = now(error);
    if (status != NSS_STATUS_SUCCESS) return status;
    return uid == 70500 || uid == 70599 ? user(entry, room, size, error) : NSS_STATUS_NOTFOUND;
}

enum nss_status OURS(getpwnam_r)(const char *name, struct passwd *entry, char *room,
                                 size_t size, int *error) {
    enum nss_status status = now(error);
    if (status != NSS_STATUS_SUCCESS) return status;
    return strcmp(name, "dora") ? NSS_STATUS_NOTFOUND : user(entry, room, size, error);
}

#ifndef USERS_ONLY
static struct {
    const char *name;
    gid_t gid;
} all[] = {{"dora", 70500}, {"keepers", 70601}, {"auditors", 70602}, {"empty", 70603}};
static char *dora[] = {"carl", "dora", NULL}, *nobody[] = {NULL};

static enum nss_status group(int index, struct group *entry, char *room) {
    strcpy(room, all[index].name);
    entry->gr_name = room;
    entry->gr_passwd = "";
    entry->gr_gid = all[index].gid;
    entry->gr_mem = index == 1 || index == 2 ? dora : nobody;
    return NSS_STATUS_SUCCESS;
}

enum nss_status OURS(getgrgid_r)(gid_t gid, struct group *entry, char *room,
                                 size_t size, int *error) {
    enum nss_status status = now(error);
    if (status != NSS_STATUS_SUCCESS) return status;
    for (int i = 0; i < 4; i++)
        if (all[i].gid == (gid == 70699 ? 70601 : gid)) return group(i, entry, room);
    return NSS_STATUS_NOTFOUND;
}

enum nss_status OURS(getgrnam_r)(const char *name, struct group *entry, char *room,
                                 size_t size, int *error) {
    enum nss_status status = now(error);
    if (status != NSS_STATUS_SUCCESS) return status;
    for (int i = 0; i < 4; i++)
        if (!strcmp(all[i].name, name)) return group(i, entry, room);
    return NSS_STATUS_NOTFOUND;
}

static int place;

enum nss_status OURS(setgrent)(int stays) {
    int error;
    place = 0;
    return now(&error) == NSS_STATUS_UNAVAIL ? NSS_STATUS_UNAVAIL : NSS_STATUS_SUCCESS;
}

enum nss_status OURS(endgrent)(void) { return NSS_STATUS_SUCCESS; }

enum nss_status OURS(getgrent_r)(struct group *entry, char *room, size_t size,
                                 int *error) {
    enum nss_status status = now(error);
    if (status != NSS_STATUS_SUCCESS) return status;
    *error = ENOENT;
    return place < 4 ? group(place++, entry, room) : NSS_STATUS_NOTFOUND;
}

#ifndef ENUMERATES
enum nss_status OURS(initgroups_dyn)(const char *name, gid_t skipped, long *number,
                                     long *size, gid_t **groups, long limit,
                                     int *error) {
    enum nss_status status = now(error);
    if (status != NSS_STATUS_SUCCESS) return status;
    if (strcmp(name, "dora")) return NSS_STATUS_NOTFOUND;
    *size += 1000; /* as a library does that has more than fit */
    *groups = realloc(*groups, *size * sizeof(gid_t));
    (*groups)[(*number)++] = 70601;
    (*groups)[(*number)++] = 70602;
    return NSS_STATUS_SUCCESS;
}
#endif
#endif
