/* Entering a block: the twin of `Block.__enter__`, of which `_frames.c` says what it is. */
#include "_frames.h"

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
int tell(State *my, int what, Fields *frame)
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
int set(State *my, PyObject *innermost)
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
PyObject *kernels_of(State *my, PyObject *place)
{
    PyObject *kernels = ask(my, place, KERNELS);
    if (kernels && !PyList_Check(kernels)) {
        PyErr_SetString(PyExc_TypeError, "the kernel's blocks are in no list");
        Py_CLEAR(kernels);
    }
    return kernels;
}

/* Tell whether the kernel goes by this very block alone; by none at all, if NULL. */
int kernel_goes_by(State *my, PyObject *place, PyObject *frame)
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
PyObject *made(PyObject *mine, PyObject *const *args, Py_ssize_t count)
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

PyType_Spec door_spec = {
    "stead.monitor._frames.Door", sizeof(Door), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, door_slots,
};
