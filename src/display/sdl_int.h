/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * -display sdl: what its two threads share. The main loop copies what the guest's screen
 * shows into a picture; a thread of the window's own, the only one that calls SDL
 * but for SDL_PushEvent, shows it, and leaves keys and movements for the main loop. Both
 * sleep while nothing happens, and neither waits for the other but for the length of a copy.
 */
#ifndef POSADA_SDL_INT_H
#define POSADA_SDL_INT_H

#include <SDL2/SDL.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "display.h"
#include "display_class.h"
#include "input.h"

struct err;

/* The functions in use, under their own names without the prefix. */
struct sdl_api {
	__typeof__(&SDL_SetMainReady) SetMainReady;
	__typeof__(&SDL_SetHint) SetHint;
	__typeof__(&SDL_Init) Init;
	__typeof__(&SDL_Quit) Quit;
	__typeof__(&SDL_GetError) GetError;
	__typeof__(&SDL_CreateWindow) CreateWindow;
	__typeof__(&SDL_DestroyWindow) DestroyWindow;
	__typeof__(&SDL_CreateRenderer) CreateRenderer;
	__typeof__(&SDL_DestroyRenderer) DestroyRenderer;
	__typeof__(&SDL_GetRendererOutputSize) GetRendererOutputSize;
	__typeof__(&SDL_CreateTexture) CreateTexture;
	__typeof__(&SDL_DestroyTexture) DestroyTexture;
	__typeof__(&SDL_SetTextureBlendMode) SetTextureBlendMode;
	__typeof__(&SDL_UpdateTexture) UpdateTexture;
	__typeof__(&SDL_RenderClear) RenderClear;
	__typeof__(&SDL_RenderCopy) RenderCopy;
	__typeof__(&SDL_RenderPresent) RenderPresent;
	__typeof__(&SDL_WaitEvent) WaitEvent;
	__typeof__(&SDL_PollEvent) PollEvent;
	__typeof__(&SDL_PushEvent) PushEvent;
	__typeof__(&SDL_StopTextInput) StopTextInput;
	__typeof__(&SDL_SetWindowTitle) SetWindowTitle;
	__typeof__(&SDL_SetWindowSize) SetWindowSize;
	__typeof__(&SDL_GetWindowSize) GetWindowSize;
	__typeof__(&SDL_GetWindowFlags) GetWindowFlags;
	__typeof__(&SDL_SetWindowFullscreen) SetWindowFullscreen;
	__typeof__(&SDL_SetWindowGrab) SetWindowGrab;
	__typeof__(&SDL_SetRelativeMouseMode) SetRelativeMouseMode;
	__typeof__(&SDL_ShowCursor) ShowCursor;
	__typeof__(&SDL_GetDisplayUsableBounds) GetDisplayUsableBounds;
};

extern struct sdl_api sdl; /* filled by sdl_load */
int sdl_load(struct err *e);
/* A place on the keyboard as input.h numbers it, or 0. */
unsigned sdl_key(SDL_Scancode place);

enum { SDL_RECTS = 32, SDL_EVENTS = 256 };

enum sdl_what { SDL_KEY, SDL_MOVE, SDL_POINT, SDL_RELEASE_ALL, SDL_CTRL_ALT_DEL, SDL_CLOSED };

/* For the main loop. */
struct sdl_event {
	enum sdl_what what;
	int x, y, wheel; /* of SDL_POINT: 0 .. INPUT_ABS_MAX */
	unsigned code; /* of SDL_KEY; else buttons */
	bool down;
};

struct sdl_display {
	struct display display;
	bool full_screen; /* the property */
	/* The main loop's. */
	struct viewer viewer;
	struct input_listener listener;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock; /* of what follows; nothing else is taken or waited for inside */
	pthread_cond_t told; /* the thread has said whether there is a window */
	enum { SDL_STARTING, SDL_RUNNING, SDL_ENDED, SDL_LOST } state;
	char why[256]; /* ENDED without having run */
	uint32_t *pixel;
	unsigned width, height;
	bool resized;
	SDL_Rect dirty[SDL_RECTS];
	unsigned n_dirty;
	bool absolute; /* the pointer */
	bool quit;
	bool woken; /* an event has been pushed and not been seen */
	/* What the main loop has not taken. */
	struct sdl_event event[SDL_EVENTS];
	unsigned n_events;
	bool posted; /* it will look */
	bool overrun; /* something was left out: keys may seem to be down */
};

/* The thread, in sdl_window.c. */
void *sdl_window_thread(void *ctx);
/* By the thread: hands an event to the main loop (sdl.c). */
void sdl_tell(struct sdl_display *d, const struct sdl_event *ev);

#endif
