/* The twin of stead.monitor.frames and of the plain way through a block of
 * stead.monitor.impersonation, which are the reference (docs/adr/0058, 0111).
 *
 * It decides nothing. It does whole what Python would do where there is nothing to ask
 * anybody: a client's block outside any server, or on a pass that is good, entered and
 * left in order on its own thread. Of anything else it changes nothing, and takes
 * Python's way.
 *
 * No handler of a signal runs in the middle of a function of C: a block is entered
 * whole or not at all. What can run Python code (a watch, a finalizer) comes when all is
 * done. All of it relies on the interpreter's lock, as _fast.c does.
 */
#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#include <Python.h>
#include <structmember.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NOT_PLAIN = 0, DONE = 1, FAILED = -1 };

typedef struct {
    PyObject_HEAD
    PyObject *kind, *subject, *guard, *outer, *place, *task, *grip, *at, *code;
    PyObject *look, *revert, *weak;
    int last, process;
    char is_kernel, is_closed, is_left;
} Fields;

typedef struct {
    PyObject_HEAD
    PyObject *kind, *subject, *guard, *keep, *at, *frame, *grip, *entered, *pass, *hold;
    char is_announced, is_told;
} Door;

typedef struct {
    PyObject_HEAD
    PyObject *cover, *subject, *guard, *code, *at, *look, *hold, *again, *standing, *is_well;
    long long entered, left, until;
    int last;
    char is_kernel;
} Pass;

typedef struct {
    PyObject_HEAD
    PyObject *session, *clock, *monotonic;
} Standing;

typedef struct {
    PyObject_HEAD
    PyObject *door, *weak;
} Grip;

/* What Python connects, in this order, and the names that are asked for. */
enum {
    FRAME, GET, SET, HERE, WATCHES, LOOP, FINDER, CLIENT, HANDLER, LEVEL, COVER, DISORDER,
    IN_TRIO, CONNECTED
};
enum {
    TOKEN, ITS_LEVEL, CLIENTS, ENTERED, LEFT, ENTER, UNDO, LEAVE, FORGOTTEN, GLOBALS, NAME,
    BACK, LAST, PASSES, BY_PASS, KERNELS, META_PATH, TRIO, IS_OVER, LEASE_ENDS, OVER,
    NAMES
};
static const char *const spelled[NAMES] = {
    "token", "level", "clients", "entered", "left", "_enter", "_undo", "leave",
    "_forgotten", "f_globals", "__name__", "f_back", "f_lasti", "passes", "enter",
    "kernels", "meta_path", "trio.lowlevel", "is_over", "lease_ends", "over",
};

typedef struct {
    PyObject *of[CONNECTED], *name[NAMES], *system, *empty;
    PyTypeObject *fields, *door, *pass, *standing, *grip;
} State;

static struct PyModuleDef module;

/* There is one module in an interpreter; it is found by whatever type is asked. */
static State *state(void)
{
    PyObject *mine = PyState_FindModule(&module);
    if (!mine)
        PyErr_SetString(PyExc_RuntimeError, "the twin is not loaded here");
    return mine ? PyModule_GetState(mine) : NULL;
}

/* Which process this is: what is written here reads 0 in a fork, however it was made. */
static volatile int *the_process;

static int this_process(void)
{
    if (!the_process)
        return getpid();
    if (!*the_process)
        *the_process = getpid();
    return *the_process;
}

static void watch_for_forks(void)
{
#ifdef MADV_WIPEONFORK
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && !madvise(page, size, MADV_WIPEONFORK))
        the_process = page;
    else if (page != MAP_FAILED)
        munmap(page, size);
#endif
}

static PyObject *process(PyObject *Py_UNUSED(mine), PyObject *Py_UNUSED(nothing))
{
    return PyLong_FromLong(this_process());
}

/* --- the fields of a frame ------------------------------------------------------------ */

static int fields_init(PyObject *it, PyObject *args, PyObject *named)
{
    static char *names[] = {"kind", "subject", "guard", "outer", "place", "task",
                            "grip", "at",      "code",  "last",  NULL};
    Fields *self = (Fields *)it;
    PyObject *given[9];
    if (!PyArg_ParseTupleAndKeywords(args, named, "$OOOOOOOUOi", names, &given[0],
                                     &given[1], &given[2], &given[3], &given[4],
                                     &given[5], &given[6], &given[7], &given[8],
                                     &self->last))
        return -1;
    PyObject **place = &self->kind;
    for (int i = 0; i < 9; i++) {
        PyObject *old = place[i];
        place[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    self->process = this_process();
    return 0;
}

static int fields_traverse(PyObject *it, visitproc visit, void *arg)
{
    Fields *self = (Fields *)it;
    for (PyObject **place = &self->kind; place <= &self->revert; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int fields_clear(PyObject *it)
{
    Fields *self = (Fields *)it;
    for (PyObject **place = &self->kind; place <= &self->revert; place++)
        Py_CLEAR(*place);
    return 0;
}

static void let_go(PyObject *it, PyObject *weak, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(it);
    PyObject_GC_UnTrack(it);
    if (weak)
        PyObject_ClearWeakRefs(it);
    clear(it);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(it);
    Py_DECREF(type);
}

static void fields_dealloc(PyObject *it)
{
    let_go(it, ((Fields *)it)->weak, fields_clear);
}

#define FIELD(name) {#name, T_OBJECT, offsetof(Fields, name), 0, NULL}
#define FACT(name, kind) {#name, kind, offsetof(Fields, name), 0, NULL}

static PyMemberDef fields_members[] = {
    FIELD(kind), FIELD(subject), FIELD(guard), FIELD(outer), FIELD(place), FIELD(task),
    FIELD(grip), FIELD(at), FIELD(code), FIELD(look), FIELD(revert), FACT(last, T_INT),
    FACT(process, T_INT), FACT(is_kernel, T_BOOL), FACT(is_closed, T_BOOL),
    FACT(is_left, T_BOOL),
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Fields, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot fields_slots[] = {
    {Py_tp_doc, "What is known of one entered identity."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, fields_init},
    {Py_tp_traverse, fields_traverse},
    {Py_tp_clear, fields_clear},
    {Py_tp_dealloc, fields_dealloc},
    {Py_tp_members, fields_members},
    {0, NULL},
};

static PyType_Spec fields_spec = {
    "stead.monitor._frames.Fields", sizeof(Fields), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, fields_slots,
};

/* --- what a block is asked ------------------------------------------------------------- */

static PyObject *ask(State *my, PyObject *of, int name)
{
    return PyObject_GetAttr(of, my->name[name]);
}

static int is_none(PyObject *it)
{
    return !it || it == Py_None;
}

static int is_adrift(PyObject *grip)
{
    return !is_none(grip)
           && (!PyWeakref_CheckRef(grip) || PyWeakref_GetObject(grip) == Py_None);
}

/* Tell whether a frame is one in force, in which another can be entered. */
static int is_in_force(State *my, PyObject *it)
{
    Fields *frame = (Fields *)it;
    return Py_TYPE(it) == (PyTypeObject *)my->of[FRAME] && !frame->is_closed
           && !is_adrift(frame->grip);
}

static int no_loop_runs(State *my)
{
    PyObject *loop = PyObject_CallNoArgs(my->of[LOOP]);
    Py_XDECREF(loop);
    return loop ? loop == Py_None : FAILED;
}

/* Tell whether no tasks run here that Python cannot tell apart. */
static int no_trio_runs(State *my)
{
    PyObject *modules = PyImport_GetModuleDict();
    if (!PyDict_GetItemWithError(modules, my->name[TRIO]))
        return PyErr_Occurred() ? FAILED : 1;
    PyObject *runs = PyObject_CallNoArgs(my->of[IN_TRIO]);
    Py_XDECREF(runs);
    return runs ? runs == Py_False : FAILED;
}

static int is_tripwire_up(State *my)
{
    PyObject *finders = PyDict_GetItemWithError(my->system, my->name[META_PATH]);
    Py_ssize_t many = finders && PyList_Check(finders) ? PyList_Size(finders) : 0;
    for (Py_ssize_t i = 0; i < many; i++) /* others may have put theirs before it */
        if (Py_TYPE(PyList_GetItem(finders, i)) == (PyTypeObject *)my->of[FINDER])
            return 1;
    return 0;
}

static int has_level(State *my, PyObject *subject)
{
    PyObject *token = ask(my, subject, TOKEN);
    PyObject *level = token ? ask(my, token, ITS_LEVEL) : NULL;
    int found = level ? PyObject_RichCompareBool(level, my->of[LEVEL], Py_GE) : FAILED;
    Py_XDECREF(token);
    Py_XDECREF(level);
    return found;
}

/* --- who calls -------------------------------------------------------------------------- */

/* Tell whether what runs with these globals is Stead's own, or hands on what is. */
static int is_ours(State *my, PyObject *globals)
{
    PyObject *name = PyDict_GetItemWithError(globals, my->name[NAME]);
    if (!name || !PyUnicode_Check(name))
        return PyErr_Occurred() ? FAILED : 0;
    Py_ssize_t size;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (!text)
        return FAILED;
    return !strncmp(text, "stead.", 6) || !strcmp(text, "stead")
           || !strcmp(text, "contextlib");
}

/* Step outward from a frame, which is given up: 1, 0 if it is the outermost, or -1. */
static int step_out(State *my, PyObject **frame)
{
    PyObject *back = ask(my, *frame, BACK);
    if (!back || back == Py_None) {
        Py_XDECREF(back);
        return back ? 0 : FAILED;
    }
    Py_DECREF(*frame);
    *frame = back;
    return 1;
}

/* Find the nearest code outside Stead and how far it is, as `frames.spot` does. */
static PyObject *find_spot(State *my, int *last)
{
    PyObject *globals = Py_XNewRef(PyEval_GetGlobals()), *code = NULL, *how_far = NULL;
    PyObject *frame = Py_XNewRef((PyObject *)PyEval_GetFrame());
    int ours = globals && frame ? is_ours(my, globals) : FAILED;
    while (ours == 1 && (ours = step_out(my, &frame)) == 1) {
        Py_DECREF(globals);
        globals = ask(my, frame, GLOBALS);
        ours = globals ? is_ours(my, globals) : FAILED;
    }
    if (ours != FAILED) {
        code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
        how_far = ask(my, frame, LAST);
        *last = how_far ? (int)PyLong_AsLong(how_far) : 0;
    }
    else if (!PyErr_Occurred())
        PyErr_NoMemory(); /* Python has a frame, and could not show it */
    Py_XDECREF(globals);
    Py_XDECREF(frame);
    Py_XDECREF(how_far);
    if (PyErr_Occurred())
        Py_CLEAR(code);
    return code;
}

static PyObject *spot(PyObject *mine, PyObject *Py_UNUSED(nothing))
{
    int last = 0;
    PyObject *code = find_spot(PyModule_GetState(mine), &last);
    return code ? Py_BuildValue("Ni", code, last) : NULL;
}

/* --- entering ---------------------------------------------------------------------------- */

/* Tell whether a client may be entered here: step 1 of `Block._enter`, and its level. */
static int may_enter(State *my, Door *door)
{
    if (!is_none(door->frame) || door->kind != my->of[CLIENT] || is_none(door->subject)
        || is_none(door->at) || !is_tripwire_up(my))
        return PyErr_Occurred() ? FAILED : 0;
    int found = no_loop_runs(my);
    if (found == 1)
        found = no_trio_runs(my);
    /* In a server there is a pass or none: with it, this very subject's level sufficed. */
    return found == 1 && is_none(door->guard) ? has_level(my, door->subject) : found;
}

/* Say of a new frame who enters it, and where. */
static int say_where(State *my, Fields *frame, Door *door)
{
    frame->process = this_process();
    /* If no statement is at work that holds a grip, it is entered by hand. */
    frame->grip = Py_NewRef(is_adrift(door->grip) || !door->grip ? Py_None : door->grip);
    frame->at = Py_NewRef(door->at);
    if (!(frame->place = ask(my, my->of[HERE], CLIENTS)))
        return FAILED;
    Py_ssize_t size = PyUnicode_GetLength(door->at);
    frame->code = size < 0   ? NULL
                  : size > 0 ? Py_NewRef(Py_None)
                             : find_spot(my, &frame->last);
    return frame->code ? DONE : FAILED;
}

/* Make a frame of what is known here; NULL without an error if it is not plain. */
static Fields *new_frame(State *my, Door *door)
{
    PyObject *outer = PyObject_CallNoArgs(my->of[GET]);
    if (!outer)
        return NULL;
    int is_plain = outer == Py_None || is_in_force(my, outer);
    /* In a server there are passes for blocks inside nobody's alone. */
    if (outer != Py_None && !is_none(door->guard))
        is_plain = is_plain && ((Fields *)outer)->kind == my->of[HANDLER];
    PyTypeObject *type = (PyTypeObject *)my->of[FRAME];
    Fields *frame = is_plain ? (Fields *)PyType_GenericAlloc(type, 0) : NULL;
    if (!frame) {
        Py_DECREF(outer);
        return NULL;
    }
    frame->outer = outer;
    frame->kind = Py_NewRef(door->kind);
    frame->subject = Py_NewRef(door->subject);
    frame->guard = Py_NewRef(door->guard ? door->guard : Py_None);
    frame->task = Py_NewRef(Py_None);
    if (say_where(my, frame, door) == FAILED)
        Py_CLEAR(frame);
    return frame;
}

/* Have every watch told; whoever raises ends it. */
static int tell(State *my, int what, Fields *frame)
{
    PyObject *watches = my->of[WATCHES];
    for (Py_ssize_t i = 0; i < PyList_Size(watches); i++) {
        PyObject *watch = Py_NewRef(PyList_GetItem(watches, i));
        PyObject *said = PyObject_CallMethodObjArgs(watch, my->name[what], frame, NULL);
        Py_DECREF(watch);
        Py_XDECREF(said);
        if (!said)
            return FAILED;
    }
    return DONE;
}

/* Set what is in force. Python may raise for want of memory although it is set. */
static int set(State *my, PyObject *innermost)
{
    PyObject *before = PyObject_CallFunctionObjArgs(my->of[SET], innermost, NULL);
    if (!before) {
        PyObject *kind, *error, *trace;
        PyErr_Fetch(&kind, &error, &trace);
        PyObject *now = PyObject_CallNoArgs(my->of[GET]);
        Py_XDECREF(now);
        if (now != innermost) {
            PyErr_Restore(kind, error, trace);
            return FAILED;
        }
        Py_XDECREF(kind);
        Py_XDECREF(error);
        Py_XDECREF(trace);
    }
    Py_XDECREF(before);
    return DONE;
}

/* Return the blocks that the kernel goes by on this thread; NULL with an error. */
static PyObject *kernels_of(State *my, PyObject *place)
{
    PyObject *kernels = ask(my, place, KERNELS);
    if (kernels && !PyList_Check(kernels)) {
        PyErr_SetString(PyExc_TypeError, "the kernel's blocks are in no list");
        Py_CLEAR(kernels);
    }
    return kernels;
}

/* Tell whether the kernel goes by this very block alone; by none at all, if NULL. */
static int kernel_goes_by(State *my, PyObject *place, PyObject *frame)
{
    PyObject *kernels = kernels_of(my, place);
    if (!kernels)
        return FAILED;
    Py_ssize_t size = PyList_Size(kernels);
    int it_does = frame ? size == 1 && PyList_GetItem(kernels, 0) == frame : size == 0;
    Py_DECREF(kernels);
    return it_does;
}

/* Have this block be what the kernel goes by; where there was none. */
static int let_kernel_go_by(State *my, Fields *frame)
{
    PyObject *kernels = frame->is_kernel ? kernels_of(my, frame->place) : NULL;
    int outcome = kernels ? PyList_Append(kernels, (PyObject *)frame) : 0;
    Py_XDECREF(kernels);
    return outcome || PyErr_Occurred() ? FAILED : DONE;
}

static int put_in_force(State *my, Door *door, Fields *frame)
{
    PyObject *it = (PyObject *)frame, *old = door->frame;
    door->frame = Py_NewRef(it);
    Py_XDECREF(old);
    if (PyList_Append(frame->place, it) || let_kernel_go_by(my, frame) == FAILED
        || set(my, it) == FAILED)
        return FAILED;
    return tell(my, ENTERED, frame);
}

/* Undo what was done; the error that is the reason stays, if nothing worse happens. */
static void undo(State *my, Door *door, Fields *frame)
{
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyObject *undone =
        PyObject_CallMethodObjArgs((PyObject *)door, my->name[UNDO], frame, NULL);
    if (undone)
        PyErr_Restore(kind, error, trace);
    else {
        Py_XDECREF(kind);
        Py_XDECREF(error);
        Py_XDECREF(trace);
    }
    Py_XDECREF(undone);
}

/* --- entering on a pass, inside a server (stead.monitor.passing) --------------------------- */

/* Tell whether a pass is about a frame's client, thread and line, and this operation. */
static int is_pass_of(State *my, PyObject *it, Fields *frame, PyObject *cover)
{
    Pass *pass = (Pass *)it;
    return PyType_IsSubtype(Py_TYPE(it), my->pass) && pass->code == frame->code
           && pass->last == frame->last && pass->subject == frame->subject
           && pass->cover == cover && pass->guard == frame->guard && pass->at
           && PyUnicode_Check(pass->at) && !PyUnicode_Compare(pass->at, frame->at);
}

/* Find the pass of a frame; NULL without an error if there is none. */
static Pass *find_pass(State *my, Fields *frame)
{
    PyObject *passes = ask(my, frame->place, PASSES), *found = NULL;
    PyObject *cover = passes ? PyObject_CallNoArgs(my->of[COVER]) : NULL;
    if (cover && cover != Py_None && PyList_Check(passes))
        for (Py_ssize_t i = 0; !found && i < PyList_Size(passes); i++) {
            PyObject *pass = PyList_GetItem(passes, i);
            found = is_pass_of(my, pass, frame, cover) ? Py_NewRef(pass) : NULL;
        }
    Py_XDECREF(passes);
    Py_XDECREF(cover);
    return (Pass *)found;
}

/* Take steps 2 to 4 of `Block._enter` on a pass: DONE, NOT_PLAIN or FAILED. */
static int pass_in(State *my, Door *door, Fields *frame)
{
    Pass *pass = find_pass(my, frame);
    /* Held before it is asked: the operation may end meanwhile. */
    PyObject *hold = Py_XNewRef(pass ? pass->hold : NULL), *entered = NULL;
    if (!is_none(hold))
        entered = PyObject_CallMethodObjArgs((PyObject *)pass, my->name[BY_PASS], NULL);
    if (is_none(entered)) {
        Py_XDECREF((PyObject *)pass);
        Py_XDECREF(hold);
        Py_XDECREF(entered);
        return PyErr_Occurred() ? FAILED : NOT_PLAIN;
    }
    /* The kernel has followed. From here on nothing fails before it can be undone. */
    PyObject *old[] = {door->pass, door->entered, door->hold, frame->look};
    door->pass = (PyObject *)pass;
    door->entered = entered;
    door->hold = hold;
    frame->look = Py_XNewRef(pass->look);
    frame->is_kernel = pass->is_kernel;
    door->is_announced = 1;
    for (int i = 0; i < 4; i++)
        Py_XDECREF(old[i]);
    return DONE;
}

/* Enter whole; NOT_PLAIN if nothing was changed, and Python's way is to be taken. */
static int enter_plainly(State *my, Door *door)
{
    int outcome = may_enter(my, door);
    Fields *frame = outcome == 1 ? new_frame(my, door) : NULL;
    if (!frame)
        return PyErr_Occurred() ? FAILED : NOT_PLAIN;
    outcome = DONE;
    if (!is_none(door->guard) && (outcome = kernel_goes_by(my, frame->place, NULL)) == DONE)
        outcome = pass_in(my, door, frame);
    if (outcome == DONE && (outcome = put_in_force(my, door, frame)) == FAILED)
        undo(my, door, frame);
    Py_DECREF(frame);
    return outcome;
}

static PyObject *door_enter(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    State *my = state();
    int outcome = my ? enter_plainly(my, (Door *)it) : FAILED;
    if (outcome == NOT_PLAIN)
        return PyObject_CallMethodObjArgs(it, my->name[ENTER], NULL);
    return outcome == FAILED ? NULL : Py_NewRef(it);
}

/* --- leaving ------------------------------------------------------------------------------ */

/* Tell whether a frame is this thread's, in force, and the innermost one. */
static int is_innermost(State *my, Fields *frame)
{
    PyObject *place = ask(my, my->of[HERE], CLIENTS);
    if (!place)
        return FAILED;
    Py_ssize_t size = PyList_Check(place) ? PyList_Size(place) : 0;
    int found = place == frame->place && is_none(frame->task) && size > 0
                && PyList_GetItem(place, size - 1) == (PyObject *)frame
                && frame->process == this_process();
    Py_DECREF(place);
    if (!found)
        return 0;
    PyObject *innermost = PyObject_CallNoArgs(my->of[GET]);
    Py_XDECREF(innermost);
    if (innermost != (PyObject *)frame)
        return innermost ? 0 : FAILED;
    return no_loop_runs(my);
}

static int may_leave(State *my, Door *door)
{
    Fields *frame = (Fields *)door->frame;
    if (is_none((PyObject *)frame) || !is_in_force(my, (PyObject *)frame)
        || (!is_none(frame->guard) && is_none(door->pass)) || frame->kind != my->of[CLIENT]
        || (!is_none(frame->outer) && !is_in_force(my, frame->outer)))
        return 0;
    int found = is_innermost(my, frame); /* so this is its own thread */
    return found == 1 && frame->is_kernel
               ? kernel_goes_by(my, frame->place, (PyObject *)frame)
               : found;
}

static int take_out_of_force(State *my, Door *door, Fields *frame)
{
    Py_ssize_t size = PyList_Size(frame->place);
    if (PySequence_DelItem(frame->place, size - 1))
        return FAILED;
    if (set(my, frame->outer ? frame->outer : Py_None) == FAILED) {
        /* There is no memory, or no room: it is in force still. */
        PyObject *kind, *error, *trace;
        PyErr_Fetch(&kind, &error, &trace);
        if (PyList_Append(frame->place, (PyObject *)frame))
            PyErr_Clear();
        PyErr_Restore(kind, error, trace);
        return FAILED;
    }
    frame->is_closed = frame->is_left = door->is_told = 1;
    return tell(my, LEFT, frame);
}

/* Give the kernel's identity back: DONE, NOT_PLAIN if blocks are in disorder, or FAILED. */
static int give_back(State *my, Door *door)
{
    PyObject *left = PyObject_CallMethodObjArgs(door->entered, my->name[LEAVE], NULL);
    Py_XDECREF(left);
    if (left)
        return DONE;
    if (!PyErr_ExceptionMatches(my->of[DISORDER]))
        return FAILED;
    PyErr_Clear(); /* Python asks again, and says what is out of order */
    return NOT_PLAIN;
}

/* Tell the pass that its block was left, and let go of the session. */
static int pass_out(State *my, Door *door)
{
    PyObject *told = PyObject_CallMethodObjArgs(door->pass, my->name[LEAVE], NULL);
    Py_CLEAR(door->hold);
    Py_XDECREF(told);
    return told ? DONE : FAILED;
}

/* Leave what was entered on a pass. */
static int leave_by_pass(State *my, Door *door, Fields *frame)
{
    int outcome = give_back(my, door);
    if (outcome != DONE)
        return outcome;
    /* The kernel takes the thread for the server again: if anything fails from here on,
     * what is left of the frame makes nobody anything. */
    frame->is_closed = frame->is_left = 1;
    PyObject *kernels = frame->is_kernel ? kernels_of(my, frame->place) : NULL;
    if (kernels && PySequence_DelItem(kernels, 0))
        PyErr_Clear(); /* it is closed, and judged by no more */
    Py_XDECREF(kernels);
    if (PyErr_Occurred())
        return FAILED;
    outcome = take_out_of_force(my, door, frame);
    return pass_out(my, door) == FAILED ? FAILED : outcome;
}

static int leave_plainly(State *my, Door *door)
{
    Fields *frame = (Fields *)door->frame;
    int outcome = may_leave(my, door);
    if (outcome != 1)
        return outcome;
    Py_INCREF((PyObject *)frame);
    outcome = is_none(door->pass) ? take_out_of_force(my, door, frame)
                                  : leave_by_pass(my, door, frame);
    Py_DECREF(frame);
    return outcome;
}

/* --- a block, as far as C knows it ------------------------------------------------------------ */

static int door_init(PyObject *it, PyObject *args, PyObject *named)
{
    static char *names[] = {"kind", "subject", "guard", "keep", "at", NULL};
    PyObject *given[5] = {NULL, NULL, NULL, Py_None, NULL}, *none = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, named, "OOO|$OU", names, &given[0], &given[1],
                                     &given[2], &given[3], &given[4]))
        return -1;
    if (!given[4] && !(given[4] = none = PyUnicode_FromString("")))
        return -1;
    PyObject **place = &((Door *)it)->kind;
    for (int i = 0; i < 5; i++) {
        PyObject *old = place[i];
        place[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    Py_XDECREF(none);
    return 0;
}

/* Make a block by one call: `frames.pure_made`. */
static PyObject *made(PyObject *mine, PyObject *const *args, Py_ssize_t count)
{
    State *my = PyModule_GetState(mine);
    if (count != 5 || !PyType_Check(args[0])
        || !PyType_IsSubtype((PyTypeObject *)args[0], my->door))
        return PyErr_Format(PyExc_TypeError, "a block is made of its kind and four more");
    Door *door = (Door *)PyType_GenericAlloc((PyTypeObject *)args[0], 0);
    if (!door)
        return NULL;
    PyObject **place = &door->kind;
    for (int i = 0; i < 4; i++)
        place[i] = Py_NewRef(args[1 + i]);
    door->at = Py_NewRef(my->empty);
    return (PyObject *)door;
}

static int door_traverse(PyObject *it, visitproc visit, void *arg)
{
    Door *self = (Door *)it;
    for (PyObject **place = &self->kind; place <= &self->hold; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int door_clear(PyObject *it)
{
    Door *self = (Door *)it;
    for (PyObject **place = &self->kind; place <= &self->hold; place++)
        Py_CLEAR(*place);
    return 0;
}

static void door_dealloc(PyObject *it)
{
    let_go(it, NULL, door_clear);
}

/* Nobody can leave it any more: only if that matters, Python is asked. */
static void door_finalize(PyObject *it)
{
    Door *self = (Door *)it;
    if ((self->is_told || is_none(self->frame)) && is_none(self->hold))
        return;
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    State *my = state();
    PyObject *done =
        my ? PyObject_CallMethodObjArgs(it, my->name[FORGOTTEN], NULL) : NULL;
    if (!done)
        PyErr_WriteUnraisable(it);
    Py_XDECREF(done);
    PyErr_Restore(kind, error, trace);
}

#define PART(name) {"_" #name, T_OBJECT, offsetof(Door, name), 0, NULL}

static PyMemberDef door_members[] = {
    PART(kind), PART(subject), PART(guard), PART(keep), PART(at), PART(frame), PART(grip),
    PART(entered), PART(pass), PART(hold),
    {"_is_announced", T_BOOL, offsetof(Door, is_announced), 0, NULL},
    {"_is_told", T_BOOL, offsetof(Door, is_told), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef door_methods[] = {
    {"__enter__", door_enter, METH_NOARGS, "Enter whole, or have Python's way taken."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot door_slots[] = {
    {Py_tp_doc, "A block, as far as the plain way through it goes."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, door_init},
    {Py_tp_traverse, door_traverse},
    {Py_tp_clear, door_clear},
    {Py_tp_dealloc, door_dealloc},
    {Py_tp_finalize, door_finalize},
    {Py_tp_members, door_members},
    {Py_tp_methods, door_methods},
    {0, NULL},
};

static PyType_Spec door_spec = {
    "stead.monitor._frames.Door", sizeof(Door), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, door_slots,
};

/* --- how a session stands (stead.authority.standing) ------------------------------------------ */

/* Return the number that was answered; or FAILED, with an error. */
static long long number_of(PyObject *answer)
{
    long long number = answer ? PyLong_AsLongLong(answer) : FAILED;
    Py_XDECREF(answer);
    return number;
}

/* Tell by which moment a session is believed: it, 0 if it is not, or FAILED. */
static long long moment_of(State *my, PyObject *it)
{
    Standing *self = (Standing *)it;
    if (!self->session || !self->monotonic) {
        PyErr_SetString(PyExc_AttributeError, "nobody stands");
        return FAILED;
    }
    PyObject *over = ask(my, self->session, OVER);
    Py_XDECREF(over);
    if (over != Py_None) /* it ends by itself, by either clock: Python knows */
        return over ? number_of(PyObject_CallMethod(it, "_good_at", NULL)) : FAILED;
    long long now = number_of(PyObject_CallNoArgs(self->monotonic));
    long long ends = now == FAILED ? 0 : number_of(ask(my, self->session, LEASE_ENDS));
    return PyErr_Occurred() ? FAILED : now < ends && now > 0 ? now : 0;
}

static PyObject *standing_good_at(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    State *my = state();
    long long moment = my ? moment_of(my, it) : FAILED;
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(moment);
}

static int standing_init(PyObject *it, PyObject *args, PyObject *named)
{
    static char *names[] = {"session", "clock", "monotonic", NULL};
    PyObject *given[3], **place = &((Standing *)it)->session;
    if (!PyArg_ParseTupleAndKeywords(args, named, "OOO", names, &given[0], &given[1],
                                     &given[2]))
        return -1;
    for (int i = 0; i < 3; i++) {
        PyObject *old = place[i];
        place[i] = Py_NewRef(given[i]);
        Py_XDECREF(old);
    }
    return 0;
}

static int standing_traverse(PyObject *it, visitproc visit, void *arg)
{
    Standing *self = (Standing *)it;
    for (PyObject **place = &self->session; place <= &self->monotonic; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int standing_clear(PyObject *it)
{
    Standing *self = (Standing *)it;
    for (PyObject **place = &self->session; place <= &self->monotonic; place++)
        Py_CLEAR(*place);
    return 0;
}

static void standing_dealloc(PyObject *it)
{
    let_go(it, NULL, standing_clear);
}

#define STANDS(name) {#name, T_OBJECT, offsetof(Standing, name), READONLY, NULL}

static PyMemberDef standing_members[] = {
    STANDS(session), STANDS(clock), STANDS(monotonic), {NULL, 0, 0, 0, NULL},
};

static PyMethodDef standing_methods[] = {
    {"good_at", standing_good_at, METH_NOARGS, "Return this moment, or 0."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot standing_slots[] = {
    {Py_tp_doc, "How a session stands."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, standing_init},
    {Py_tp_traverse, standing_traverse},
    {Py_tp_clear, standing_clear},
    {Py_tp_dealloc, standing_dealloc},
    {Py_tp_members, standing_members},
    {Py_tp_methods, standing_methods},
    {0, NULL},
};

static PyType_Spec standing_spec = {
    "stead.monitor._frames.StandingFields", sizeof(Standing), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, standing_slots,
};

/* --- a pass, as far as C knows it ------------------------------------------------------------- */

static int pass_traverse(PyObject *it, visitproc visit, void *arg)
{
    Pass *self = (Pass *)it;
    for (PyObject **place = &self->cover; place <= &self->is_well; place++)
        Py_VISIT(*place);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int pass_clear(PyObject *it)
{
    Pass *self = (Pass *)it;
    for (PyObject **place = &self->cover; place <= &self->is_well; place++)
        Py_CLEAR(*place);
    return 0;
}

static void pass_dealloc(PyObject *it)
{
    let_go(it, NULL, pass_clear);
}

/* Tell whether a pass is good: `Pass._enter` asks the same. */
static int is_good(State *my, Pass *pass)
{
    if (!pass->standing || !pass->cover || !pass->is_well || !pass->again
        || !PyType_IsSubtype(Py_TYPE(pass->standing), my->standing))
        return 0; /* Python asks others */
    /* Whoever is asked may be Python's, and change what stands here. */
    PyObject *asked[] = {Py_NewRef(pass->standing), Py_NewRef(pass->cover),
                         Py_NewRef(pass->is_well)};
    PyObject *is_over = NULL, *is_well = NULL;
    long long now = moment_of(my, asked[0]);
    if (now > 0 && now < pass->until && (is_over = ask(my, asked[1], IS_OVER)) == Py_False)
        is_well = PyObject_CallNoArgs(asked[2]);
    int found = is_well == Py_True;
    Py_XDECREF(is_over);
    Py_XDECREF(is_well);
    for (int i = 0; i < 3; i++)
        Py_DECREF(asked[i]);
    return PyErr_Occurred() ? FAILED : found;
}

/* Have Python say what a kernel that did not follow means; the error stays. */
static void say_refused(PyObject *pass)
{
    PyObject *kind, *error, *trace;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace)
        PyException_SetTraceback(error, trace);
    PyObject *said = PyObject_CallMethod(pass, "_came_to_nothing", "O", error);
    if (said)
        PyErr_Restore(kind, error, trace);
    else {
        PyObject *newer, *its, *way;
        PyErr_Fetch(&newer, &its, &way);
        PyErr_NormalizeException(&newer, &its, &way);
        PyException_SetContext(its, error);
        PyErr_Restore(newer, its, way);
        Py_XDECREF(kind);
        Py_XDECREF(trace);
    }
    Py_XDECREF(said);
}

static PyObject *pass_enter(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    Pass *pass = (Pass *)it;
    State *my = state();
    int good = my ? is_good(my, pass) : FAILED;
    if (good != 1)
        return good == FAILED ? NULL : PyObject_CallMethod(it, "_enter", NULL);
    pass->entered++;
    PyObject *again = Py_NewRef(pass->again), *entered = PyObject_CallNoArgs(again);
    Py_DECREF(again);
    if (!entered)
        say_refused(it);
    return entered;
}

static PyObject *pass_leave(PyObject *it, PyObject *Py_UNUSED(nothing))
{
    State *my = state();
    PyObject *cover = my ? ((Pass *)it)->cover : NULL;
    PyObject *is_over = cover ? ask(my, cover, IS_OVER) : NULL;
    Py_XDECREF(is_over);
    if (is_over != Py_False)
        return PyErr_Occurred() ? NULL : PyObject_CallMethod(it, "_leave", NULL);
    ((Pass *)it)->left++;
    return Py_NewRef(Py_None);
}

#define KNOWN(name) {#name, T_OBJECT, offsetof(Pass, name), 0, NULL}

static PyMemberDef pass_members[] = {
    KNOWN(cover), KNOWN(subject), KNOWN(guard), KNOWN(code), KNOWN(at), KNOWN(look),
    KNOWN(hold),
    {"_again", T_OBJECT, offsetof(Pass, again), 0, NULL},
    {"_standing", T_OBJECT, offsetof(Pass, standing), 0, NULL},
    {"_is_well", T_OBJECT, offsetof(Pass, is_well), 0, NULL},
    {"_until", T_LONGLONG, offsetof(Pass, until), 0, NULL},
    {"entered", T_LONGLONG, offsetof(Pass, entered), 0, NULL},
    {"left", T_LONGLONG, offsetof(Pass, left), 0, NULL},
    {"last", T_INT, offsetof(Pass, last), 0, NULL},
    {"is_kernel", T_BOOL, offsetof(Pass, is_kernel), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef pass_methods[] = {
    {"enter", pass_enter, METH_NOARGS, "Count a block more and have the kernel follow."},
    {"leave", pass_leave, METH_NOARGS, "Count one that was left in order."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pass_slots[] = {
    {Py_tp_doc, "A pass, as far as the plain way through a block looks at it."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_traverse, pass_traverse},
    {Py_tp_clear, pass_clear},
    {Py_tp_dealloc, pass_dealloc},
    {Py_tp_members, pass_members},
    {Py_tp_methods, pass_methods},
    {0, NULL},
};

static PyType_Spec pass_spec = {
    "stead.monitor._frames.PassFields", sizeof(Pass), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, pass_slots,
};

/* --- what a `with` statement holds ---------------------------------------------------------- */

static PyObject *grip_call(PyObject *it, PyObject *args, PyObject *named)
{
    State *my = state();
    PyObject *door = ((Grip *)it)->door;
    if (!my || !door) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "the block is collected");
        return NULL;
    }
    /* In a server, what a block ends with is looked at (`KernelRefusedError`). */
    PyObject *error = PyTuple_Size(args) > 1 ? PyTuple_GetItem(args, 1) : NULL;
    int is_looked_at = !is_none(error) && !is_none(((Door *)door)->guard);
    int outcome = is_looked_at ? NOT_PLAIN : leave_plainly(my, (Door *)door);
    if (outcome == DONE)
        return Py_NewRef(Py_None);
    PyObject *way = outcome == FAILED ? NULL : ask(my, door, LEAVE);
    PyObject *answer = way ? PyObject_Call(way, args, named) : NULL;
    Py_XDECREF(way);
    return answer;
}

static int grip_traverse(PyObject *it, visitproc visit, void *arg)
{
    Py_VISIT(((Grip *)it)->door);
    Py_VISIT(Py_TYPE(it));
    return 0;
}

static int grip_clear(PyObject *it)
{
    Py_CLEAR(((Grip *)it)->door);
    return 0;
}

static void grip_dealloc(PyObject *it)
{
    let_go(it, ((Grip *)it)->weak, grip_clear);
}

static PyMemberDef grip_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Grip, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot grip_slots[] = {
    {Py_tp_doc, "What a `with` statement holds while it is at work."},
    {Py_tp_call, grip_call},
    {Py_tp_traverse, grip_traverse},
    {Py_tp_clear, grip_clear},
    {Py_tp_dealloc, grip_dealloc},
    {Py_tp_members, grip_members},
    {0, NULL},
};

static PyType_Spec grip_spec = {
    "stead.monitor._frames.Grip", sizeof(Grip), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    grip_slots,
};

/* The descriptor `Block.__exit__`: a statement that looks it up is handed a grip. */
static PyObject *exit_get(PyObject *Py_UNUSED(it), PyObject *block, PyObject *owner)
{
    State *my = state();
    if (!my)
        return NULL;
    if (is_none(block))
        return ask(my, owner, LEAVE);
    if (!PyType_IsSubtype(Py_TYPE(block), my->door)) {
        PyErr_SetString(PyExc_TypeError, "this is no block");
        return NULL;
    }
    Door *door = (Door *)block;
    Grip *grip = (Grip *)PyType_GenericAlloc(my->grip, 0);
    if (!grip)
        return NULL;
    grip->door = Py_NewRef(block);
    if (!is_none(door->frame))
        return (PyObject *)grip;
    /* The last one counts: others look it up for other reasons. */
    PyObject *old = door->grip;
    if (!(door->grip = PyWeakref_NewRef((PyObject *)grip, NULL)))
        Py_CLEAR(grip);
    Py_XDECREF(old);
    return (PyObject *)grip;
}

static PyType_Slot exit_slots[] = {
    {Py_tp_doc, "The descriptor that hands a `with` statement its grip."},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_descr_get, exit_get},
    {0, NULL},
};

static PyType_Spec exit_spec = {
    "stead.monitor._frames.Exit", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, exit_slots,
};

/* --- audited events -------------------------------------------------------------------------- */

/* What an audit hook is called with. Events that nobody asks for run no Python code: while
 * one did, another thread could neither set a trace function nor be born with one. */
static PyObject *sifted(PyObject *sieve, PyObject *const *given, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "an event is a name and its arguments");
        return NULL;
    }
    int is_asked_for = PySet_Contains(PyTuple_GetItem(sieve, 0), given[0]);
    if (is_asked_for <= 0)
        return is_asked_for ? NULL : Py_NewRef(Py_None);
    return PyObject_CallFunctionObjArgs(PyTuple_GetItem(sieve, 1), given[0], given[1], NULL);
}

static PyMethodDef sifted_method = {
    "sifted", (PyCFunction)(void (*)(void))sifted, METH_FASTCALL, "Pass an event on, or not.",
};

static PyObject *hook(PyObject *Py_UNUSED(mine), PyObject *args)
{
    PyObject *events, *told;
    if (!PyArg_ParseTuple(args, "O!O", &PyFrozenSet_Type, &events, &told))
        return NULL;
    PyObject *sieve = PyTuple_Pack(2, events, told);
    PyObject *made = sieve ? PyCFunction_New(&sifted_method, sieve) : NULL;
    Py_XDECREF(sieve);
    return made;
}

/* --- the module ------------------------------------------------------------------------------ */

static PyObject *connect(PyObject *mine, PyObject *args)
{
    State *my = PyModule_GetState(mine);
    PyObject *of[CONNECTED];
    if (!PyArg_ParseTuple(args, "O!OOOO!OOOOOOOO", &PyType_Type, &of[FRAME], &of[GET],
                          &of[SET], &of[HERE], &PyList_Type, &of[WATCHES], &of[LOOP],
                          &of[FINDER], &of[CLIENT], &of[HANDLER], &of[LEVEL], &of[COVER],
                          &of[DISORDER], &of[IN_TRIO]))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)of[FRAME], my->fields)) {
        PyErr_SetString(PyExc_TypeError, "a frame has other fields");
        return NULL;
    }
    for (int i = 0; i < CONNECTED; i++) {
        PyObject *old = my->of[i];
        my->of[i] = Py_NewRef(of[i]);
        Py_XDECREF(old);
    }
    return Py_NewRef(Py_None);
}

static PyTypeObject *add_type(PyObject *mine, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(mine, spec, NULL);
    if (type && PyModule_AddType(mine, (PyTypeObject *)type))
        Py_CLEAR(type);
    return (PyTypeObject *)type;
}

static PyMethodDef methods[] = {
    {"spot", spot, METH_NOARGS, "Return the nearest code outside Stead, and how far."},
    {"process", process, METH_NOARGS, "Return the number of this process."},
    {"made", (PyCFunction)(void (*)(void))made, METH_FASTCALL, "Make a block."},
    {"connect", connect, METH_VARARGS, "Take what is asked, in the order of the C."},
    {"hook", hook, METH_VARARGS, "Return an audit hook that tells of some events."},
    {NULL, NULL, 0, NULL},
};

/* Its state lives as long as the process: types of Python's are made of its own. */
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_frames", "The twin of frames.", sizeof(State), methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__frames(void)
{
    PyObject *mine = PyModule_Create(&module);
    State *my = mine ? PyModule_GetState(mine) : NULL;
    if (!my)
        return NULL;
    for (int i = 0; i < NAMES; i++)
        if (!(my->name[i] = PyUnicode_InternFromString(spelled[i])))
            return NULL;
    for (int i = 0; i < CONNECTED; i++)
        my->of[i] = Py_NewRef(Py_None);
    watch_for_forks();
    my->fields = add_type(mine, &fields_spec);
    my->door = add_type(mine, &door_spec);
    my->pass = add_type(mine, &pass_spec);
    my->standing = add_type(mine, &standing_spec);
    my->grip = add_type(mine, &grip_spec);
    PyTypeObject *the_exit = add_type(mine, &exit_spec);
    Py_XDECREF((PyObject *)the_exit);
    PyObject *system = PyImport_AddModule("sys");
    my->system = system ? Py_XNewRef(PyModule_GetDict(system)) : NULL;
    my->empty = PyUnicode_FromString("");
    return my->fields && my->door && my->pass && my->standing && my->grip && the_exit
                   && my->system && my->empty
               ? mine
               : NULL;
}
