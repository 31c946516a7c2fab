/* The universal detector in C: fastpath.detect, novelty and season. The constants come from these modules on the
   compiler's command line, so both always have the same. The two sides of a feature lie side by side: arrays over features,
   for the compiler to take several at once, were a fifth slower, because each reading touches one side only. */

enum { NOTHING, ONSET, CLEAR };
enum { STEPPED, DISTANCE, UNSEASONAL, HUMP, SHIFT, LASTING_SHIFT, LASTING_UNSEASONAL, ROUGH, STRANGE, QUIET, FLAT };
#define FEATURES novelty_FEATURES
#define HOUR_NS INT64_C(3600000000000)
#define GAP_PERIODS detect_GAP_PERIODS

typedef struct { double usual, record, newest; } Side;

typedef struct {
    double profile[48], spread[24], typical, residuals;
    double value[FEATURES];
    Side side[FEATURES][2];
    double count, before, expected, last_s, period_s;
    double mean, variance, moves, quantum, run, since, active, calmed, settling;
    double mean_short, mean_middle, mean_long, left_long, strange_long, moves_short, moves_long;
} Detector;

typedef struct { int word; double score; } Verdict;

static const int64_t lags[FEATURES] = novelty_LAG;

static inline double detect_lesser(double a, double b) { return a < b ? a : b; }
static inline double detect_larger(double a, double b) { return a > b ? a : b; }
static inline double detect_within(double x, double reach) { return detect_lesser(detect_larger(x, -reach), reach); }

static void detect_begin(Detector *d, double t_s, double x)
{
    for (int k = 0; k < 48; k++) d->profile[k] = season_UNSEEN;
    d->count = 1.0;
    d->before = d->expected = d->mean = d->mean_short = d->mean_middle = d->mean_long = x;
    d->last_s = t_s;
    d->since = detect_LONG_AGO;
}

static inline int hour_of(int64_t t)
{
    int64_t hours = t / HOUR_NS - (t % HOUR_NS < 0), days = hours / 24 - (hours % 24 < 0);
    int64_t hour = hours - 24 * days, weekday = ((days + 3) % 7 + 7) % 7;
    return (int)(hour + (weekday >= 5 ? 24 : 0));
}

static inline double season_residual(const Detector *d, int hour, double x)
{
    double own = d->profile[hour], working = d->profile[hour % 24];
    if (own == season_UNSEEN) return working == season_UNSEEN ? season_UNSEEN : x - working;
    return working != season_UNSEEN && fabs(x - working) < fabs(x - own) ? x - working : x - own;
}

static inline void season_learn(Detector *d, int hour, double x, double left)
{
    if (left != season_UNSEEN) {
        double size = fabs(left), typical = d->typical, *spread = &d->spread[hour % 24];
        d->residuals += 1.0;
        double share = detect_larger(detect_SLOW, 1.0 / d->residuals);
        d->typical = typical + share * ((typical > 0.0 ? detect_lesser(size, season_CLIP * typical) : size) - typical);
        *spread = *spread > 0.0 ? *spread + season_SPREAD_SHARE * (detect_lesser(size, season_CLIP * *spread) - *spread)
                                : size;
    }
    double *level = &d->profile[hour];
    if (*level == season_UNSEEN) *level = d->mean_short;
    *level += detect_lesser(season_LARGEST_SHARE, d->period_s / (3600.0 * season_MEMORY_DAYS)) * (x - *level);
}

static inline void detect_look(Detector *d, double n, double x, int hour)
{
    double jump = fabs(x - d->before);
    if (jump > 0.0 && (d->quantum == 0.0 || jump < d->quantum)) d->quantum = jump;
    d->run = jump > 0.0 ? 0.0 : d->run + 1.0;
    d->before = x;
    double mean = d->mean;
    double tiny = detect_larger(detect_larger(d->quantum, 1e-12 * fabs(mean)), 1e-300);
    double reach = detect_CLIP * (sqrt(d->variance) + tiny);
    x = mean + detect_within(x - mean, reach);
    jump = detect_lesser(jump, 2.0 * reach);

    double first = 1.0 / (n + 1.0);
    double slow = detect_larger(detect_SLOW, first), brief = detect_larger(detect_SHORT, first);
    double middle = detect_larger(detect_MIDDLE, first), lasting = detect_larger(detect_LONG, first);
    double off = x - mean;
    d->variance = (1.0 - slow) * (d->variance + slow * off * off);
    d->mean = mean += slow * off;
    double stepped = x - d->mean_short;
    d->mean_short += brief * stepped;
    d->mean_middle += middle * (x - d->mean_middle);
    d->mean_long += lasting * (x - d->mean_long);

    double left = season_residual(d, hour, x), known = left != season_UNSEEN ? left : 0.0;
    double strange = detect_within(known / (0.5 * (d->spread[hour % 24] + d->typical) + tiny), season_STRANGEST);
    d->expected = d->typical < d->moves && known != 0.0 ? x - known : x - stepped;
    season_learn(d, hour, x, left);
    d->left_long += lasting * (known - d->left_long);
    d->strange_long += lasting * (strange - d->strange_long);

    d->moves += slow * (jump - d->moves);
    d->moves_short += brief * (jump - d->moves_short);
    d->moves_long += lasting * (jump - d->moves_long);
    double still = 0.03 * d->moves + 1e-6 * tiny;

    d->value[STEPPED] = stepped;
    d->value[DISTANCE] = x - mean;
    d->value[SHIFT] = d->mean_middle - mean;
    d->value[LASTING_SHIFT] = d->mean_long - mean;
    d->value[HUMP] = d->mean_short - d->mean_long;
    d->value[UNSEASONAL] = known;
    d->value[LASTING_UNSEASONAL] = d->left_long;
    d->value[STRANGE] = d->strange_long;
    d->value[ROUGH] = d->moves_short - d->moves;
    d->value[QUIET] = detect_larger(0.0, log((d->moves + still) / (d->moves_long + still)));
    d->value[FLAT] = d->run;
}

static inline void novelty_fade(Detector *d, int64_t reading)
{
    double share = FEATURES / detect_larger(novelty_FADE_READINGS, novelty_FADE_S / detect_larger(d->period_s, 1e-3));
    Side *side = d->side[reading % FEATURES];
    for (int k = 0; k < 2; k++) {
        double limit = novelty_EXTREME * side[k].usual;
        if (side[k].record > limit && limit > 0.0) side[k].record *= 1.0 - log(side[k].record / limit) * share;
    }
}

static inline double novelty_ratio(Detector *d, int j, int64_t reading, double share, double least, double floor, int accept)
{
    double f = d->value[j], size = fabs(f);
    Side *both = d->side[j], *side = &both[f >= 0.0 ? 0 : 1], *other = &both[f >= 0.0 ? 1 : 0];
    double usual = side->usual += share * (size - side->usual);
    other->usual -= share * other->usual;
    if ((reading & (lags[j] - 1)) == 0)
        for (int k = 0; k < 2; k++) {
            both[k].record = detect_larger(both[k].record, both[k].newest);
            both[k].newest = 0.0;
        }
    double record = detect_larger(detect_larger(side->record, novelty_GATE * usual), least) + floor;
    double most = detect_lesser(size, novelty_LARGEST_LEAP * record);
    if (accept) side->record = detect_larger(side->record, most);
    else side->newest = detect_larger(side->newest, most);
    return size / record;
}

static inline double detect_judge(Detector *d, double n)
{
    int64_t reading = (int64_t)n;
    if (n > novelty_EARLY) novelty_fade(d, reading);
    double share = detect_larger(novelty_SIZE_SHARE, 1.0 / (n + 1.0));
    int unjudged = n < novelty_EARLY || d->settling > 0.0;
    int accept = unjudged || d->active > 0.0 || d->since < detect_REFRACTORY;
    d->settling = detect_larger(0.0, d->settling - 1.0);
    double spread = detect_FLOOR * sqrt(d->variance) + 1e-12 * fabs(d->mean) + 1e-300;
    double steps = detect_QUANTA * d->quantum, best = 0.0, agreeing = 0.0;
#pragma GCC unroll 11
    for (int j = 0; j < FEATURES; j++) {
        double floor = j == FLAT ? detect_FLAT_FLOOR : j >= STRANGE ? detect_UNIT_FLOOR : spread;
        double ratio = novelty_ratio(d, j, reading, share, j <= HUMP ? steps : 0.0, floor, accept);
        best = detect_larger(best, ratio);
        agreeing += detect_larger(0.0, ratio - detect_NEAR);
    }
    double score = best * (1.0 + detect_AGREEMENT * detect_lesser(agreeing, detect_MOST_AGREEMENT)) * n
                 / (n + detect_LITTLE_KNOWN);
    return unjudged ? 0.0 : detect_lesser(score, detect_MAX_SCORE);
}

static inline double detect_often(double score, double n, double times)
{
    double known = (n + detect_LITTLE_KNOWN) / (n + detect_LITTLE_KNOWN * sqrt(times));
    return score * known / (1.0 + detect_OFTEN * log10(times));
}

static inline Verdict detect_decide(Detector *d, double score)
{
    double since = d->since += 1.0;
    if (d->active == 0.0) {
        if (since < 16.0 * detect_REFRACTORY) score *= 1.0 - exp(-since / detect_REFRACTORY);
        if (score >= detect_ONSET_SCORE && 0.0 < d->period_s && d->period_s < detect_OFTEN_BELOW_S)
            score = detect_often(score, d->count, detect_OFTEN_BELOW_S / d->period_s);
        if (score < detect_ONSET_SCORE) return (Verdict){NOTHING, score};
        d->active = 1.0;
        d->since = d->calmed = 0.0;
        for (Side *side = d->side[0]; side < d->side[FEATURES]; side++) {
            side->record = detect_larger(side->record, side->newest);
            side->newest = 0.0;
        }
        return (Verdict){ONSET, score};
    }
    d->calmed = score < detect_CLEAR_SCORE ? d->calmed + 1.0 : 0.0;
    double told = detect_lesser(score, detect_CLEAR_SCORE);
    if (d->calmed < detect_CALM && since < detect_ACCEPTED) return (Verdict){NOTHING, told};
    d->active = 0.0;
    return (Verdict){CLEAR, told};
}

static inline Verdict detect_step(Detector *d, int64_t t, double x, int gap, int64_t align)
{
    double n = d->count, t_s = 1e-9 * (double)t;
    if (n == 0.0 || fabs(x) > detect_FAR) {
        if (n == 0.0 && fabs(x) <= detect_FAR) detect_begin(d, t_s, x);
        return (Verdict){NOTHING, 0.0};
    }
    double elapsed = t_s - d->last_s;
    d->last_s = t_s;
    if (gap) {
        d->before = x;
        d->run = 0.0;
        d->settling = detect_BACK;
        return (Verdict){NOTHING, 0.0};
    }
    d->count = n + 1.0;
    double period = d->period_s;
    if (elapsed > 0.0) {
        double seen = period > 0.0 ? detect_lesser(elapsed, 4.0 * period) : elapsed;
        d->period_s = period + detect_larger(detect_PERIOD_SHARE, 1.0 / n) * (seen - period);
    }
    detect_look(d, n, x, hour_of(t + align));
    return detect_decide(d, detect_judge(d, n));
}
