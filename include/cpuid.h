/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What CPUID tells the guest: the host KVM's table, changed by -cpu and given
 * each vCPU's place in the topology (one socket, n cores, one thread each).
 */
#ifndef POSADA_CPUID_H
#define POSADA_CPUID_H

#include <linux/kvm.h>
#include <stdio.h>

struct err;

/* Entries a table has room for; KVM's own limit is 256. */
#define CPUID_MAX 256

/* Checks the text of -cpu ("host,+x,-y,z=on") without asking the host. */
int cpuid_check(const char *arg, struct err *e);
/* "-cpu help". */
void cpuid_help(FILE *f);

/*
 * Applies arg (NULL: "host") to the host's table. Asking for a feature that the host
 * KVM does not have is an error (-ENOTSUP, ERR_UNAVAILABLE).
 */
int cpuid_apply(struct kvm_cpuid2 *c, const char *arg, struct err *e);

/* Fills in what differs between CPUs: APIC ids and topology. */
void cpuid_set_topology(struct kvm_cpuid2 *c, unsigned cpu, unsigned n_cpus);

/* The entry of leaf and subleaf, or NULL. */
struct kvm_cpuid_entry2 *cpuid_entry(struct kvm_cpuid2 *c, unsigned leaf, unsigned subleaf);

/* Width of a guest-physical address (leaf 0x80000008). */
unsigned cpuid_phys_bits(struct kvm_cpuid2 *c);

#endif
