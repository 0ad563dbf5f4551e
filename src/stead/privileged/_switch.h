/* What the files of the twin of credentials share; `_switch.c` says what the twin is. */
#ifndef STEAD_SWITCH_H
#define STEAD_SWITCH_H

#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* As `credentials.packed` writes it. */
typedef struct {
    uint32_t uids[3], gids[3]; /* real, effective, saved */
    uint64_t effective;        /* capabilities */
    uint32_t count, groups[];
} Who;

enum {
    DONE = 0,
    NOT_WHO_WAS_EXPECTED = -1,
    NOT_THE_SERVER_AGAIN = -2,
    READS_BACK_OTHERWISE = -3,
};

/* Shared by these files, and by nobody else. */
#pragma GCC visibility push(hidden)

/* _switch.c */
int come_back(const Who *server, unsigned long seal);
const Who *who_of(PyObject *packed);
int has_room(unsigned long calls);
int keep(PyObject *open, PyObject *block);
int enter_as(const Who *them, const Who *us, unsigned long seal);
int leave_as(const Who *them, const Who *us, unsigned long seal);

/* _switch_blocks.c */
extern PyType_Spec books_spec, block_spec;

#pragma GCC visibility pop

#endif
