BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'old');
INSERT INTO "studies" VALUES(2,'ended');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MINIMIZE',1,0);
INSERT INTO "study_directions" VALUES(2,'MINIMIZE',2,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'r',2.32805044622727379537e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(2,1,'alpha',2.7647722162314279648e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(3,1,'gamma',1.39789188314622525588e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(4,1,'epsilon',6.77816503868242659081e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(5,2,'r',6.4706025067805787998e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(6,2,'alpha',3.24598784172343279852e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(7,2,'gamma',1.08610374581976976138e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(8,2,'epsilon',9.76824170257860613375e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(9,3,'r',2.80306552912554387537e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(10,3,'alpha',2.90289577452049439576e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(11,3,'gamma',1.06918973951506068864e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(12,3,'epsilon',7.13339539364820529598e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'metrics','{"nll": 308.615834470628, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi": 0.0, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "paper_elbo": null, "melbo": 1.0, "ppl_melbo": 2.3, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1733200038, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(3,2,'reason','"nan"');
INSERT INTO "trial_user_attributes" VALUES(4,2,'message','"told to end with nan."');
INSERT INTO "trial_user_attributes" VALUES(5,3,'metrics','{"nll": 495.34977256212125, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi": 0.0, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "paper_elbo": null, "melbo": 1.0, "ppl_melbo": 2.3, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 611915298, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(6,3,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,308.615834470628,'FINITE');
INSERT INTO "trial_values" VALUES(2,3,0,4.95349772562121245297e+02,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-22 00:37:23.497509','2026-11-22 00:37:23.606236');
INSERT INTO "trials" VALUES(2,1,1,'FAIL','2026-11-22 00:37:23.643241','2026-11-22 00:37:23.737634');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-22 00:37:23.788066','2026-11-22 00:37:23.885104');
CREATE TABLE tuner_attempts (
	id INTEGER NOT NULL, 
	study VARCHAR NOT NULL, 
	trial INTEGER NOT NULL, 
	token VARCHAR NOT NULL, 
	seed INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	reason VARCHAR, 
	message VARCHAR, 
	host VARCHAR NOT NULL, 
	pid INTEGER NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, worker VARCHAR DEFAULT '' NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study) REFERENCES tuner_studies (name) ON DELETE CASCADE, 
	UNIQUE (token)
);
INSERT INTO "tuner_attempts" VALUES(1,'old',0,'54d89df3906a1cfe621adbb7befc7c26',1733200038,'finished',NULL,NULL,'vm',22953,1.79530784349750947956e+09,1.79530784360623574258e+09,'w');
INSERT INTO "tuner_attempts" VALUES(2,'old',1,'68aba2b04efbccd0bd2ca6f3be1261b5',1712230578,'failed','nan','told to end with nan.','vm',22953,1.79530784364324069021e+09,1.79530784373763394358e+09,'w');
INSERT INTO "tuner_attempts" VALUES(3,'old',2,'49253c8cc581aa805e33c5d781f0c6d9',611915298,'finished',NULL,NULL,'vm',22953,1.79530784378806614878e+09,1.79530784388510417939e+09,'w');
CREATE TABLE tuner_epochs (
	study VARCHAR NOT NULL, 
	trial INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	distortion DOUBLE, 
	rate DOUBLE, 
	neg_elbo DOUBLE, 
	active_units INTEGER, 
	seconds DOUBLE, 
	objective JSON NOT NULL, 
	PRIMARY KEY (study, trial, epoch), 
	FOREIGN KEY(study) REFERENCES tuner_studies (name) ON DELETE CASCADE
);
INSERT INTO "tuner_epochs" VALUES('old',0,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('old',1,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('old',2,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
CREATE TABLE tuner_studies (
	name VARCHAR NOT NULL, 
	specification JSON NOT NULL, 
	budget INTEGER NOT NULL, 
	folder VARCHAR NOT NULL, 
	created_at DOUBLE NOT NULL, 
	asker VARCHAR, 
	asker_until DOUBLE NOT NULL, state VARCHAR DEFAULT 'active' NOT NULL, why VARCHAR, rules JSON DEFAULT '{}' NOT NULL, attrs JSON DEFAULT '{}' NOT NULL, recorded_at DOUBLE DEFAULT '0' NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "tuner_studies" VALUES('old','{"technique": "sfb", "space": {"technique": "sfb", "paper": "Chen et al. 2017; Pelsmaeker & Aziz 2019, eq. 26 and table 2", "formula": "D + \u03b2R, \u03b2 \u00d7(1+\u03b1) while R > \u03b3r, \u00f7(1+\u03b1) while R < \u03b5r", "summary": "soft free bits: the rate''s weight is steered towards a target rate", "parameters": [{"name": "r", "type": "float", "default": 6.467, "meaning": "target rate", "low": 1.0, "high": 30.0, "log": false, "step": null, "choices": [], "paper": 6.467, "unit": "nats per sentence", "tuned": true}, {"name": "alpha", "type": "float", "default": 0.01, "meaning": "relative change of \u03b2", "low": 0.001, "high": 0.1, "log": true, "step": null, "choices": [], "paper": 0.01, "unit": "per optimiser step", "tuned": true}, {"name": "gamma", "type": "float", "default": 1.05, "meaning": "\u03b2 grows while R > \u03b3r", "low": 1.0, "high": 1.5, "log": false, "step": null, "choices": [], "paper": 1.05, "unit": "", "tuned": true}, {"name": "epsilon", "type": "float", "default": 1.0, "meaning": "\u03b2 falls while R < \u03b5r", "low": 0.5, "high": 1.0, "log": false, "step": null, "choices": [], "paper": 1.0, "unit": "", "tuned": true}, {"name": "beta_0", "type": "float", "default": 0.1, "meaning": "\u03b2 before the first step", "low": 0.001, "high": 1.0, "log": true, "step": null, "choices": [], "paper": null, "unit": "", "tuned": false}, {"name": "step", "type": "categorical", "default": "multiplicative", "meaning": "how \u03b2 changes: by the factor 1+\u03b1 (authors'' code), or by \u00b1\u03b1 (eq. 26)", "low": null, "high": null, "log": false, "step": null, "choices": ["multiplicative", "additive"], "paper": null, "unit": "", "tuned": false}]}, "corpus": {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}, "model": "tiny", "fixed": {}, "sampler": "random", "sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 0.0, "warm_start": null, "seed": 0, "objective": "nll", "version": "0.1.0"}',3,'/runs/runs/old-58f977',1.79530784342488908766e+09,NULL,0.0,'active',NULL,'{"timeout": 0.0, "deadline": null, "max_failures": 3}','{}',0.0);
INSERT INTO "tuner_studies" VALUES('ended','{"technique": "sfb", "space": {"technique": "sfb", "paper": "Chen et al. 2017; Pelsmaeker & Aziz 2019, eq. 26 and table 2", "formula": "D + \u03b2R, \u03b2 \u00d7(1+\u03b1) while R > \u03b3r, \u00f7(1+\u03b1) while R < \u03b5r", "summary": "soft free bits: the rate''s weight is steered towards a target rate", "parameters": [{"name": "r", "type": "float", "default": 6.467, "meaning": "target rate", "low": 1.0, "high": 30.0, "log": false, "step": null, "choices": [], "paper": 6.467, "unit": "nats per sentence", "tuned": true}, {"name": "alpha", "type": "float", "default": 0.01, "meaning": "relative change of \u03b2", "low": 0.001, "high": 0.1, "log": true, "step": null, "choices": [], "paper": 0.01, "unit": "per optimiser step", "tuned": true}, {"name": "gamma", "type": "float", "default": 1.05, "meaning": "\u03b2 grows while R > \u03b3r", "low": 1.0, "high": 1.5, "log": false, "step": null, "choices": [], "paper": 1.05, "unit": "", "tuned": true}, {"name": "epsilon", "type": "float", "default": 1.0, "meaning": "\u03b2 falls while R < \u03b5r", "low": 0.5, "high": 1.0, "log": false, "step": null, "choices": [], "paper": 1.0, "unit": "", "tuned": true}, {"name": "beta_0", "type": "float", "default": 0.1, "meaning": "\u03b2 before the first step", "low": 0.001, "high": 1.0, "log": true, "step": null, "choices": [], "paper": null, "unit": "", "tuned": false}, {"name": "step", "type": "categorical", "default": "multiplicative", "meaning": "how \u03b2 changes: by the factor 1+\u03b1 (authors'' code), or by \u00b1\u03b1 (eq. 26)", "low": null, "high": null, "log": false, "step": null, "choices": ["multiplicative", "additive"], "paper": null, "unit": "", "tuned": false}]}, "corpus": {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}, "model": "tiny", "fixed": {}, "sampler": "random", "sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 0.0, "warm_start": null, "seed": 0, "objective": "nll", "version": "0.1.0"}',2,'/runs/runs/ended-6db54c',1.79530784404357051852e+09,NULL,0.0,'stopped','stopped by the user','{"timeout": 0.0, "deadline": null, "max_failures": 3}','{}',0.0);
CREATE TABLE tuner_trials (
	study VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	params JSON NOT NULL, 
	value DOUBLE, 
	"values" JSON, 
	metrics JSON, 
	cost JSON, 
	attrs JSON NOT NULL, 
	reason VARCHAR, 
	message VARCHAR, 
	losses INTEGER NOT NULL, 
	seconds DOUBLE NOT NULL, 
	artifacts VARCHAR, 
	token VARCHAR, 
	worker VARCHAR, 
	lease_until DOUBLE NOT NULL, 
	created_at DOUBLE NOT NULL, 
	started_at DOUBLE, 
	ended_at DOUBLE, 
	told BOOLEAN NOT NULL, 
	PRIMARY KEY (study, number), 
	FOREIGN KEY(study) REFERENCES tuner_studies (name) ON DELETE CASCADE
);
INSERT INTO "tuner_trials" VALUES('old',0,'complete','{"r": 23.280504462272738, "alpha": 0.02764772216231428, "gamma": 1.3978918831462253, "epsilon": 0.6778165038682427}',308.615834470628,'[308.615834470628]','{"nll": 308.615834470628, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi": 0.0, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "paper_elbo": null, "melbo": 1.0, "ppl_melbo": 2.3, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1733200038, "split": "valid"}}','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}','{}',NULL,NULL,0,1.08726263046264648437e-01,'0000/54d89df3-1',NULL,'w',0.0,1.79530784349750947956e+09,1.79530784349750947956e+09,1.79530784360623574258e+09,1);
INSERT INTO "tuner_trials" VALUES('old',1,'failed','{"r": 6.470602506780579, "alpha": 0.03245987841723433, "gamma": 1.0861037458197698, "epsilon": 0.9768241702578606}',NULL,NULL,NULL,NULL,'{}','nan','told to end with nan.',1,9.4393253326416015625e-02,'0001/68aba2b0-1',NULL,'w',0.0,1.79530784364324069021e+09,1.79530784364324069021e+09,1.79530784373763394358e+09,1);
INSERT INTO "tuner_trials" VALUES('old',2,'complete','{"r": 28.03065529125544, "alpha": 0.029028957745204944, "gamma": 1.0691897395150607, "epsilon": 0.7133395393648205}',4.95349772562121245297e+02,'[495.34977256212125]','{"nll": 495.34977256212125, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi": 0.0, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "paper_elbo": null, "melbo": 1.0, "ppl_melbo": 2.3, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 611915298, "split": "valid"}}','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}','{}',NULL,NULL,0,9.70380306243896484375e-02,'0002/49253c8c-1',NULL,'w',0.0,1.79530784378806614878e+09,1.79530784378806614878e+09,1.79530784388510417939e+09,1);
CREATE TABLE tuner_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT tuner_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "tuner_version" VALUES('0002');
CREATE TABLE tuner_workers (
	name VARCHAR NOT NULL, 
	host VARCHAR NOT NULL, 
	process VARCHAR NOT NULL, 
	device VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	study VARCHAR, 
	trial INTEGER, 
	trials INTEGER NOT NULL, 
	version VARCHAR NOT NULL, 
	started_at DOUBLE NOT NULL, 
	seen_at DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "tuner_workers" VALUES('w','vm','22953:3946614','cpu','gone',NULL,NULL,3,'0.1.0',1.79530784343678259844e+09,1.79530784402407097817e+09);
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE INDEX tuner_attempts_by_trial ON tuner_attempts (study, trial);
CREATE INDEX tuner_trials_by_state ON tuner_trials (study, state, number);
CREATE INDEX tuner_trials_by_value ON tuner_trials (study, value);
CREATE INDEX tuner_trials_untold ON tuner_trials (study, told);
CREATE INDEX tuner_trials_by_worker ON tuner_trials (worker);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
