/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Help for guests on a KVM that is software itself: instructions which such a
 * KVM cannot carry out in kernel mode are carried out here, SYSCALL is worked
 * round, and CPUID bits it cannot hide are named to Linux on its command line.
 * On a hardware KVM none of this runs: vm->assist and vcpu->assist are NULL.
 */
#ifndef POSADA_ASSIST_H
#define POSADA_ASSIST_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct vcpu;
struct vm;

enum assist_mode { ASSIST_AUTO, ASSIST_ON, ASSIST_OFF };

/*
 * Whether KVM is a software one, asked of KVM itself: supported is the answer of
 * KVM_GET_SUPPORTED_CPUID, which on hardware lists what the processor has.
 */
bool assist_detect(const struct kvm_cpuid2 *supported);

/* Once a VM, before its vCPUs exist; sets vm->assist. */
int assist_create(struct vm *vm, struct err *e);
void assist_destroy(struct vm *vm);

/* Takes bits out of a CPUID table about to be set for a vCPU (CX16, FSRM, KVM hypercall features).
 */
void assist_mask_cpuid(struct vm *vm, struct kvm_cpuid2 *cpuid);

/* Linux parameters for what KVM forces on: "clearcpuid=...". Static. */
const char *assist_linux_params(struct vm *vm);

/* Replaces slow loops in a firmware image that is mapped for the guest; how many. */
unsigned assist_firmware(uint8_t *image, size_t len);

/* [vcpu] After vCPU creation, at each reset, and when state has been loaded. */
int assist_vcpu_reset(struct vcpu *v, struct err *e);
void assist_vcpu_free(struct vcpu *v);

/*
 * [vcpu] For exits INTERNAL_ERROR (emulation), DEBUG and X86_WRMSR/RDMSR:
 * 1 when handled (go on with KVM_RUN), 0 when it is not the assist's or it
 * cannot help, -errno when KVM refused.
 */
int assist_exit(struct vcpu *v);

/*
 * [vcpu] After every exit that was handled, when v->assist is set: looks whether the IDT changed,
 * and says what registers the next exit is to bring.
 */
void assist_poll(struct vcpu *v);

/* One line of counters for `info assist`: instructions by name, system calls. */
void assist_info(struct vm *vm, void (*line)(void *ctx, const char *text), void *ctx);

#endif
