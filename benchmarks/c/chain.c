/* The default chain over gauges in C, for comparison: gate, Hampel filter, detector, window summary with sketch,
   evidence. Readings in, marks, scores and rows out: the same as fastpath.chain.Chain.push gives for the same readings.

   What every reading touches lies in one struct a channel; sketches, detectors and evidence in tables of their own, so
   that the rows of one table follow each other in memory and are fetched ahead (one struct for all: 1.4 times slower for
   10,000 channels). The caller makes the memory (chain_bytes) and calls chain_begin. Times lie within 73 years, channels exist: nothing is checked here that the
   Python side checks before the call. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chain_detect.h"

#define SPAN 11
#define HALF 5
#define CAPACITY 96
#define COMPRESSION 32.0
#define ROOM 24
#define DEPTH 32
#define EMPTY_ROWS 3
#define FAR 1e150
#define LARGEST 1.7976931348623157e308
#define NEVER INT64_MIN

enum { RANGE = 1, STEP = 2, SPIKE = 4, STALE = 8, MISSING = 16 };
enum { SUSPECT = 32, OUT_OF_RANGE = 64, NO_NUMBER = 128 };

typedef struct {
    double low, high, step, rate;
    int64_t window, period, filtered, judged;
} Told;

typedef struct {
    int64_t seen, last_ns, gathered;
    double last;
    int64_t start, end, rows, n, m, window_last_ns, quality;
    double min, max, mean, m2, first, final;
    int64_t count;
    double power, quantum;
    double ring[SPAN], sorted[SPAN];
    int64_t fill, tidy;
    Told told;
} Channel;

typedef struct { double mean[CAPACITY], weight[CAPACITY]; } Sketch;
typedef struct { struct { int64_t t; double x; } reading[DEPTH]; } Evidence;
typedef struct { Channel *channel; Detector *detector; Sketch *sketch; Evidence *evidence; } State;

typedef struct {
    int64_t channel, start, end, n, expected, last_ns, quality;
    double min, max, mean, sd, first, last, p50, p95;
} Window;
typedef struct { int64_t channel, t, onset; double score, x, expected; } Alert;
typedef struct { int64_t windows, alerts; Window *window; Alert *alert; } Rows;

static inline int64_t floor_div(int64_t a, int64_t b) { int64_t q = a / b; return q - (a % b < 0); }
static inline double lesser(double a, double b) { return a < b ? a : b; }
static inline double larger(double a, double b) { return a > b ? a : b; }

/* Sort what is new by counting smaller ones, merge it with what is sorted. */
static void tidy(Channel *c, Sketch *s)
{
    int64_t size = c->fill, old = c->tidy, fresh = size - old;
    if (fresh <= 0) return;
    const double *mean = s->mean + old, *weight = s->weight + old;
    double ordered_mean[CAPACITY], ordered_weight[CAPACITY];
    for (int64_t i = 0; i < fresh; i++) {
        int64_t rank = 0;
        for (int64_t j = 0; j < i; j++) rank += mean[j] <= mean[i];
        for (int64_t j = i + 1; j < fresh; j++) rank += mean[j] < mean[i];
        ordered_mean[rank] = mean[i];
        ordered_weight[rank] = weight[i];
    }
    if (old == 0) {
        memcpy(s->mean, ordered_mean, (size_t)fresh * sizeof *ordered_mean);
        memcpy(s->weight, ordered_weight, (size_t)fresh * sizeof *ordered_weight);
    } else {
        int64_t a = old - 1, b = fresh - 1;
        for (int64_t k = size - 1; b >= 0; k--) {
            if (a >= 0 && s->mean[a] > ordered_mean[b]) {
                s->mean[k] = s->mean[a];
                s->weight[k] = s->weight[a--];
            } else {
                s->mean[k] = ordered_mean[b];
                s->weight[k] = ordered_weight[b--];
            }
        }
    }
    c->tidy = size;
}

static double total_of(const Channel *c, const Sketch *s)
{
    double total = 0.0;
    for (int64_t i = 0; i < c->fill; i++) total += s->weight[i];
    return total;
}

static void compress(Channel *c, Sketch *s)
{
    double *mean = s->mean, *weight = s->weight;
    tidy(c, s);
    int64_t size = c->fill;
    double total = total_of(c, s), spread = M_PI / COMPRESSION;
    while (size > CAPACITY - ROOM) {
        double before = 0.0;
        int64_t kept = 0;
        for (int64_t i = 1; i < size; i++) {
            double both = weight[kept] + weight[i], q = (before + 0.5 * both) / total;
            if (both <= total * spread * sqrt(larger(q * (1.0 - q), 0.0))) {
                double share = weight[i] / both;
                mean[kept] = mean[kept] * (1.0 - share) + mean[i] * share;
                weight[kept] = both;
            } else {
                before += weight[kept++];
                mean[kept] = mean[i];
                weight[kept] = weight[i];
            }
        }
        size = kept + 1;
        spread *= 1.5;
    }
    c->fill = c->tidy = size;
}

static double quantile(const Channel *c, const Sketch *s, double p)
{
    double rank = p * (total_of(c, s) - 1.0), before = 0.0, last = 0.0;
    for (int64_t i = 0; i < c->fill; i++) {
        double centre = before + 0.5 * (s->weight[i] - 1.0);
        if (centre >= rank) {
            if (i == 0 || centre <= last) return s->mean[i];
            double share = (rank - last) / (centre - last);
            return s->mean[i - 1] * (1.0 - share) + s->mean[i] * share;
        }
        last = centre;
        before += s->weight[i];
    }
    return s->mean[c->fill - 1];
}

static void reopen(Channel *c)
{
    c->min = INFINITY;
    c->max = -INFINITY;
    c->mean = c->m2 = 0.0;
    c->first = c->final = NAN;
    c->rows = c->n = c->m = c->window_last_ns = c->quality = 0;
    c->fill = c->tidy = 0;
}

static void close_window(Channel *c, Sketch *s, int64_t index, Rows *rows)
{
    Window *w = &rows->window[rows->windows++];
    int64_t period = c->told.period, covered = c->end - c->start;
    int64_t due = period > 0 && covered > 0 ? (covered + period / 2) / period : 0;
    *w = (Window){index, c->start, c->end, c->n, due > c->rows ? due : c->rows, c->window_last_ns, c->quality,
                  NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    if (c->m > 0) {
        tidy(c, s);
        w->min = c->min;
        w->max = c->max;
        w->first = c->first;
        w->last = c->final;
        w->mean = lesser(larger(c->mean, c->min), c->max);
        w->sd = sqrt(c->m2 / (double)c->m);
        w->p50 = quantile(c, s, 0.5);
        w->p95 = quantile(c, s, 0.95);
    }
    reopen(c);
    c->start = c->end;
    c->end += c->told.window;
}

static void roll(Channel *c, Sketch *s, int64_t index, int64_t align, int64_t t, Rows *rows)
{
    for (int k = 0; k <= EMPTY_ROWS && t >= c->end; k++) close_window(c, s, index, rows);
    if (t >= c->end) {
        c->start = floor_div(t + align, c->told.window) * c->told.window - align;
        c->end = c->start + c->told.window;
    }
}

static inline int gate(Channel *c, int64_t t, double x)
{
    if (x < c->told.low || x > c->told.high) return RANGE;
    double moved = fabs(x - c->last);
    int64_t elapsed = t - c->last_ns;
    c->last = x;
    c->last_ns = t;
    if (moved > c->told.step) return STEP;
    return c->told.rate < INFINITY && elapsed > 0 && moved > c->told.rate * ((double)elapsed * 1e-9) ? STEP : 0;
}

static inline int hampel(Channel *c, double x)
{
    int64_t n = c->count++;
    double before = c->ring[(uint64_t)(n + SPAN - 1) % SPAN], *slot = &c->ring[(uint64_t)n % SPAN];
    double oldest = *slot, quantum = c->quantum, moved = fabs(x - before);
    *slot = x;
    if (n > 0 && moved > 0.0 && (quantum == 0.0 || moved < quantum)) c->quantum = lesser(moved, FAR);

    double *s = c->sorted, left = -INFINITY;
    for (int k = 0; k < SPAN - 1; k++) {
        double kept = s[k] < oldest ? s[k] : s[k + 1];
        s[k] = larger(left, lesser(x, kept));
        left = kept;
    }
    s[SPAN - 1] = larger(left, x);
    if (n + 1 < SPAN) return 0;

    double median = s[HALF], mad = lesser(s[SPAN - 1] - median, median - s[0]);
    for (int k = 1; k < HALF; k++) mad = lesser(mad, larger(median - s[HALF - k], s[SPAN - 1 - k] - median));
    double deviation = fabs(x - median);
    double limit = larger(larger(3.0 * 1.4826 * mad, 3.0 * sqrt(c->power)), 2.0 * quantum);
    int spike = deviation > limit;
    double counted = spike && limit > 0.0 ? limit : deviation;
    if (counted < FAR) c->power += (counted * counted - c->power) / 128.0;
    return spike ? SPIKE : 0;
}

static inline void count(Channel *c, Sketch *s, int64_t t, double x, int64_t quality, int mark)
{
    c->rows++;
    c->n++;
    c->window_last_ns = t;
    if (mark & RANGE) quality = quality > OUT_OF_RANGE ? quality : OUT_OF_RANGE;
    else {
        if (mark & (STEP | SPIKE)) quality = quality > SUSPECT ? quality : SUSPECT;
        int64_t m = ++c->m;
        if (m == 1) c->first = x;
        c->final = x;
        c->min = lesser(c->min, x);
        c->max = larger(c->max, x);
        double off = x - c->mean;
        if (fabs(off) < FAR) {
            c->mean += off / (double)m;
            c->m2 = lesser(c->m2 + off * (x - c->mean), LARGEST);
        } else {
            c->mean += x / (double)m - c->mean / (double)m;
            c->m2 = LARGEST;
        }
        if (c->fill == CAPACITY) compress(c, s);
        s->mean[c->fill] = x;
        s->weight[c->fill++] = 1.0;
    }
    if (quality > c->quality) c->quality = quality;
}

/* Bytes a channel needs in each of the four tables. */
void chain_bytes(int64_t *bytes)
{
    bytes[0] = sizeof(Channel);
    bytes[1] = sizeof(Detector);
    bytes[2] = sizeof(Sketch);
    bytes[3] = sizeof(Evidence);
}

/* The tables hold zeros. */
void chain_begin(State *state, int64_t n, const Told *told, int64_t start, int64_t align)
{
    for (int64_t k = 0; k < n; k++) {
        Channel *c = &state->channel[k];
        c->told = told[k];
        c->seen = NEVER;
        c->last = NAN;
        for (int i = 0; i < SPAN; i++) c->ring[i] = c->sorted[i] = LARGEST;
        reopen(c);
        c->start = start;
        c->end = floor_div(start + align, c->told.window) * c->told.window - align + c->told.window;
    }
}

/* n readings, times in ns; room for the rows is the caller's. */
void chain_push(const State *state, int64_t n, int64_t align, const int32_t *restrict channel,
                const int64_t *restrict time_ns, const double *restrict value, const uint8_t *restrict quality,
                uint8_t *restrict mark, double *restrict score, Rows *rows)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t k = channel[i];
        Channel *c = &state->channel[k];
        Sketch *s = &state->sketch[k];
        int64_t t = time_ns[i], before = c->seen;
        double x = value[i];
        if (t >= c->end) roll(c, s, k, align, t, rows);
        if (quality[i] >= NO_NUMBER || !isfinite(x)) {
            mark[i] = MISSING;
            c->rows++;
            int64_t worst = quality[i] > NO_NUMBER ? quality[i] : NO_NUMBER;
            if (worst > c->quality) c->quality = worst;
            continue;
        }
        c->seen = t;
        int bits = before != NEVER && t <= before ? STALE : 0;
        int64_t slot = c->gathered++ & (DEPTH - 1);
        state->evidence[k].reading[slot].t = t;
        state->evidence[k].reading[slot].x = x;
        bits |= gate(c, t, x);
        if (!(bits & (RANGE | STALE))) {
            if (c->told.filtered) bits |= hampel(c, x);
            if (c->told.judged) {
                Detector *d = &state->detector[k];
                int gap = c->told.period > 0 && before != NEVER && t - before > GAP_PERIODS * c->told.period;
                Verdict verdict = detect_step(d, t, x, gap, align);
                score[i] = verdict.score;
                if (verdict.word != NOTHING)
                    rows->alert[rows->alerts++] =
                        (Alert){k, t, verdict.word == ONSET, verdict.score, x, d->expected};
            }
        }
        mark[i] = (uint8_t)bits;
        count(c, s, t, x, quality[i], bits);
    }
}
