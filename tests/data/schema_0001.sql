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
INSERT INTO "studies" VALUES(3,'empty');
INSERT INTO "studies" VALUES(4,'two');
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
INSERT INTO "study_directions" VALUES(3,'MINIMIZE',3,0);
INSERT INTO "study_directions" VALUES(4,'MINIMIZE',4,0);
INSERT INTO "study_directions" VALUES(5,'MAXIMIZE',4,1);
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
INSERT INTO "study_user_attributes" VALUES(1,2,'stopped','"the sampler expected to gain less than 1e+06 nats from each of its last 3 proposals"');
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
INSERT INTO "trial_params" VALUES(1,1,'r',6.90168454311788082122e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(2,1,'alpha',7.79321632696077827573e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(3,1,'gamma',1.07121086213737726211e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(4,1,'epsilon',0.870209283195436,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(5,2,'r',2.38952604886144399638e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(6,2,'alpha',7.21389044635691312201e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(7,2,'gamma',1.45373838348314166069e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(8,2,'epsilon',6.58718629740178585052e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(9,3,'r',9.17799010500311851501e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(10,3,'alpha',1.40907620697927789266e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(11,3,'gamma',1.2105334312655031681e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(12,3,'epsilon',9.57474334631115198135e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(13,4,'r',2.16410800628364086151e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(14,4,'alpha',1.26168332181433146509e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(15,4,'gamma',1.32799279689788818359e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(16,4,'epsilon',5.13592249248176813125e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(17,5,'r',2.21123260696313828077e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(18,5,'alpha',8.84018802521078540801e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(19,5,'gamma',1.00715449391762712494e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(20,5,'epsilon',9.95928852636253636454e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(21,6,'r',1.38847263189173535384e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(22,6,'alpha',9.30303042932827811695e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(23,6,'gamma',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(24,6,'epsilon',9.2906998024035591932e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(25,7,'r',3.91517649976290194047e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(26,7,'alpha',8.93856797829856337955e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(27,7,'gamma',1.18134505158636238242e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(28,7,'epsilon',8.55360141709488819294e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(29,8,'r',6.90168454311788082122e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(30,8,'alpha',7.79321632696077827573e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(31,8,'gamma',1.07121086213737726211e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(32,8,'epsilon',0.870209283195436,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(33,9,'r',2.38952604886144399638e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(34,9,'alpha',7.21389044635691312201e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(35,9,'gamma',1.45373838348314166069e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(36,9,'epsilon',6.58718629740178585052e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(37,10,'r',9.17799010500311851501e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(38,10,'alpha',1.40907620697927789266e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(39,10,'gamma',1.2105334312655031681e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(40,10,'epsilon',9.57474334631115198135e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(41,11,'r',2.16410800628364086151e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(42,11,'alpha',1.26168332181433146509e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(43,11,'gamma',1.32799279689788818359e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(44,11,'epsilon',5.13592249248176813125e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(45,12,'r',2.21123260696313828077e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(46,12,'alpha',8.84018802521078540801e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(47,12,'gamma',1.00715449391762712494e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(48,12,'epsilon',9.95928852636253636454e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(49,13,'r',1.38847263189173535384e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(50,13,'alpha',9.30303042932827811695e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(51,13,'gamma',1.0,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(52,13,'epsilon',9.2906998024035591932e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(53,14,'r',3.91517649976290194047e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(54,14,'alpha',8.93856797829856337955e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(55,14,'gamma',1.18134505158636238242e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(56,14,'epsilon',8.55360141709488819294e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(57,15,'r',6.90168454311788082122e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(58,15,'alpha',7.79321632696077827573e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(59,15,'gamma',1.07121086213737726211e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(60,15,'epsilon',0.870209283195436,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(61,16,'r',2.38952604886144399638e+01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(62,16,'alpha',7.21389044635691312201e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(63,16,'gamma',1.45373838348314166069e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(64,16,'epsilon',6.58718629740178585052e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
INSERT INTO "trial_params" VALUES(65,17,'r',9.17799010500311851501e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 30.0, "log": false}}');
INSERT INTO "trial_params" VALUES(66,17,'alpha',1.40907620697927789266e-02,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.001, "high": 0.1, "log": true}}');
INSERT INTO "trial_params" VALUES(67,17,'gamma',1.2105334312655031681e+00,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 1.0, "high": 1.5, "log": false}}');
INSERT INTO "trial_params" VALUES(68,17,'epsilon',9.57474334631115198135e-01,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.5, "high": 1.0, "log": false}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,5,'gp:diagnostics','{"observations": 4, "pending": 0, "samples": 1, "divergences": 0, "acceptance": null, "r_hat": null, "expected_gain": 4.860956887018519}');
INSERT INTO "trial_system_attributes" VALUES(2,6,'gp:diagnostics','{"observations": 5, "pending": 0, "samples": 1, "divergences": 0, "acceptance": null, "r_hat": null, "expected_gain": 4.2048305531984225}');
INSERT INTO "trial_system_attributes" VALUES(3,7,'gp:diagnostics','{"observations": 6, "pending": 0, "samples": 1, "divergences": 0, "acceptance": null, "r_hat": null, "expected_gain": 9.630217040251324}');
INSERT INTO "trial_system_attributes" VALUES(4,12,'gp:diagnostics','{"observations": 4, "pending": 0, "samples": 1, "divergences": 0, "acceptance": null, "r_hat": null, "expected_gain": 4.860956887018519}');
INSERT INTO "trial_system_attributes" VALUES(5,13,'gp:diagnostics','{"observations": 5, "pending": 0, "samples": 1, "divergences": 0, "acceptance": null, "r_hat": null, "expected_gain": 4.2048305531984225}');
INSERT INTO "trial_system_attributes" VALUES(6,14,'gp:diagnostics','{"observations": 6, "pending": 0, "samples": 1, "divergences": 0, "acceptance": null, "r_hat": null, "expected_gain": 9.630217040251324}');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'metrics','{"nll": 10.813035015297702, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1733200038, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(2,1,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(3,2,'reason','"nan"');
INSERT INTO "trial_user_attributes" VALUES(4,2,'message','"told to end with nan."');
INSERT INTO "trial_user_attributes" VALUES(5,3,'metrics','{"nll": 20.099621107497732, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 611915298, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(6,3,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(7,4,'metrics','{"nll": 254.6433855320586, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1247234920, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(8,4,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(9,5,'metrics','{"nll": 24.354758358539335, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 935055161, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(10,5,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(11,6,'metrics','{"nll": 72.16890912422801, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 550961385, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(12,6,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(13,8,'metrics','{"nll": 10.813035015297702, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1733200038, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(14,8,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(15,9,'reason','"nan"');
INSERT INTO "trial_user_attributes" VALUES(16,9,'message','"told to end with nan."');
INSERT INTO "trial_user_attributes" VALUES(17,10,'metrics','{"nll": 20.099621107497732, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 611915298, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(18,10,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(19,11,'metrics','{"nll": 254.6433855320586, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1247234920, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(20,11,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(21,12,'metrics','{"nll": 24.354758358539335, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 935055161, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(22,12,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(23,13,'metrics','{"nll": 72.16890912422801, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 550961385, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(24,13,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(25,14,'metrics','{"nll": 14.346489027140866, "nll_se": 0.1, "ppl": 2.0, "rate": 0.05, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1558778656, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(26,14,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(27,15,'metrics','{"nll": 118.13145504471159, "nll_se": 0.1, "ppl": 2.0, "rate": 6.901684543117881, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1733200038, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(28,15,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(29,16,'metrics','{"nll": 216.8066729326399, "nll_se": 0.1, "ppl": 2.0, "rate": 23.89526048861444, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 1712230578, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(30,16,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
INSERT INTO "trial_user_attributes" VALUES(31,17,'metrics','{"nll": 127.80490257525108, "nll_se": 0.1, "ppl": 2.0, "rate": 9.177990105003119, "distortion": 1.0, "neg_elbo": 1.05, "active_units": 0, "mi": 0.0, "ppl_no_end": 2.1, "ppl_elbo": 2.2, "mi_he": 0.0, "rate_error": null, "mi_lower": null, "acc_gap": 0.0, "collapsed": true, "estimator": {"proposal": "q", "samples": 1, "sentences": 1, "of": 1, "seed": 611915298, "split": "valid"}}');
INSERT INTO "trial_user_attributes" VALUES(32,17,'cost','{"epochs": 1, "tokens_per_second": 1.0, "seconds": {"set_up": 1.0, "training": 2.0, "evaluation": 3.0}}');
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
INSERT INTO "trial_values" VALUES(1,1,0,1.08130350152977019463e+01,'FINITE');
INSERT INTO "trial_values" VALUES(2,3,0,2.00996211074977324537e+01,'FINITE');
INSERT INTO "trial_values" VALUES(3,4,0,2.54643385532058601932e+02,'FINITE');
INSERT INTO "trial_values" VALUES(4,5,0,2.43547583585393354619e+01,'FINITE');
INSERT INTO "trial_values" VALUES(5,6,0,7.21689091242280085242e+01,'FINITE');
INSERT INTO "trial_values" VALUES(6,8,0,1.08130350152977019463e+01,'FINITE');
INSERT INTO "trial_values" VALUES(7,10,0,2.00996211074977324537e+01,'FINITE');
INSERT INTO "trial_values" VALUES(8,11,0,2.54643385532058601932e+02,'FINITE');
INSERT INTO "trial_values" VALUES(9,12,0,2.43547583585393354619e+01,'FINITE');
INSERT INTO "trial_values" VALUES(10,13,0,7.21689091242280085242e+01,'FINITE');
INSERT INTO "trial_values" VALUES(11,14,0,1.43464890271408656023e+01,'FINITE');
INSERT INTO "trial_values" VALUES(12,15,0,1.1813145504471158631e+02,'FINITE');
INSERT INTO "trial_values" VALUES(13,15,1,6.90168454311788082122e+00,'FINITE');
INSERT INTO "trial_values" VALUES(14,16,0,2.1680667293263991269e+02,'FINITE');
INSERT INTO "trial_values" VALUES(15,16,1,2.38952604886144399638e+01,'FINITE');
INSERT INTO "trial_values" VALUES(16,17,0,1.27804902575251077222e+02,'FINITE');
INSERT INTO "trial_values" VALUES(17,17,1,9.17799010500311851501e+00,'FINITE');
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
INSERT INTO "trials" VALUES(1,0,1,'COMPLETE','2026-11-21 20:36:35.731602','2026-11-21 20:36:36.104584');
INSERT INTO "trials" VALUES(2,1,1,'FAIL','2026-11-21 20:36:36.430218','2026-11-21 20:36:37.292364');
INSERT INTO "trials" VALUES(3,2,1,'COMPLETE','2026-11-21 20:36:37.581749','2026-11-21 20:36:37.977084');
INSERT INTO "trials" VALUES(4,3,1,'COMPLETE','2026-11-21 20:36:38.176460','2026-11-21 20:36:39.251639');
INSERT INTO "trials" VALUES(5,4,1,'COMPLETE','2026-11-21 20:36:39.542450','2026-11-21 20:36:40.919264');
INSERT INTO "trials" VALUES(6,5,1,'COMPLETE','2026-11-21 20:36:41.665253','2026-11-21 20:36:44.001989');
INSERT INTO "trials" VALUES(7,6,1,'RUNNING','2026-11-21 20:36:44.098802',NULL);
INSERT INTO "trials" VALUES(8,0,2,'COMPLETE','2026-11-21 20:36:45.661236','2026-11-21 20:36:46.025645');
INSERT INTO "trials" VALUES(9,1,2,'FAIL','2026-11-21 20:36:46.194498','2026-11-21 20:36:46.725437');
INSERT INTO "trials" VALUES(10,2,2,'COMPLETE','2026-11-21 20:36:47.003178','2026-11-21 20:36:47.529982');
INSERT INTO "trials" VALUES(11,3,2,'COMPLETE','2026-11-21 20:36:47.628307','2026-11-21 20:36:48.371928');
INSERT INTO "trials" VALUES(12,4,2,'COMPLETE','2026-11-21 20:36:48.482221','2026-11-21 20:36:49.719351');
INSERT INTO "trials" VALUES(13,5,2,'COMPLETE','2026-11-21 20:36:49.849866','2026-11-21 20:36:51.837676');
INSERT INTO "trials" VALUES(14,6,2,'COMPLETE','2026-11-21 20:36:52.042818','2026-11-21 20:36:53.185550');
INSERT INTO "trials" VALUES(15,0,4,'COMPLETE','2026-11-21 20:36:53.613754','2026-11-21 20:36:54.215156');
INSERT INTO "trials" VALUES(16,1,4,'COMPLETE','2026-11-21 20:36:54.402170','2026-11-21 20:36:54.943614');
INSERT INTO "trials" VALUES(17,2,4,'COMPLETE','2026-11-21 20:36:55.099168','2026-11-21 20:36:55.441133');
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
	lease_until DOUBLE NOT NULL, 
	started_at DOUBLE NOT NULL, 
	ended_at DOUBLE, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study) REFERENCES tuner_studies (name) ON DELETE CASCADE, 
	UNIQUE (token)
);
INSERT INTO "tuner_attempts" VALUES(1,'old',0,'28d4aaa59cd3fd840f657539229d5292',1733200038,'finished',NULL,NULL,'host',4651,1.79529345603629684451e+09,1.7952933958465435505e+09,1.79529339613148307798e+09);
INSERT INTO "tuner_attempts" VALUES(2,'old',1,'71fc03b78c0b4bc1d93d75df0521d4a7',1712230578,'failed','nan','told to end with nan.','host',4651,1.79529345720841479296e+09,1.79529339691143369674e+09,1.7952933973127045631e+09);
INSERT INTO "tuner_attempts" VALUES(3,'old',2,'acd91552ce75001d15d294cd8bdeaeda',611915298,'finished',NULL,NULL,'host',4651,1.79529345793519711491e+09,1.79529339776263237001e+09,1.79529339799078345302e+09);
INSERT INTO "tuner_attempts" VALUES(4,'old',3,'19589169fdf0ce21be387522b48f63c5',1247234920,'lost','lost','the trainer was killed by SIGKILL (the system may have run out of memory).','host',4651,1.79529345868931102751e+09,1.79529339831909394266e+09,1.79529339871631479262e+09);
INSERT INTO "tuner_attempts" VALUES(5,'old',3,'9aec917fd0ab105c8bf77ff1083b5d7e',1247234920,'finished',NULL,NULL,'host',4651,1.79529345913808321957e+09,1.79529339889920735353e+09,1.79529339927338314059e+09);
INSERT INTO "tuner_attempts" VALUES(6,'old',4,'016ee2c97e46c567068cfa417e0fb6b2',935055161,'finished',NULL,NULL,'host',4651,1.79529346087681674955e+09,1.79529340073001384735e+09,1.79529340093839883804e+09);
INSERT INTO "tuner_attempts" VALUES(7,'old',5,'a3a9db94a22029d524edf8b1afc62add',550961385,'finished',NULL,NULL,'host',4651,1.79529346396679902078e+09,1.79529340375133252146e+09,1.79529340401735115046e+09);
INSERT INTO "tuner_attempts" VALUES(8,'old',6,'8830dd0a7fe8ee7f92f7fbf6fcd373a0',1558778656,'interrupted','user','stopped by the user.','host',4651,1.79529346553705692291e+09,1.7952934052668292523e+09,1.79529340557648682593e+09);
INSERT INTO "tuner_attempts" VALUES(9,'ended',0,'4e3f9b35f378218701a8de47fda8461d',1733200038,'finished',NULL,NULL,'host',4651,1.7952934659517474174e+09,1.79529340571647810938e+09,1.79529340605334401131e+09);
INSERT INTO "tuner_attempts" VALUES(10,'ended',1,'b1e8d6604c25c821d3c68fa697330212',1712230578,'failed','nan','told to end with nan.','host',4651,1795293466.58677,1.79529340635111069675e+09,1.79529340677335286138e+09);
INSERT INTO "tuner_attempts" VALUES(11,'ended',2,'0ef3a02c3903a1b0ef977d2e93349986',611915298,'finished',NULL,NULL,'host',4651,1.79529346747679615023e+09,1.79529340718737387655e+09,1.79529340755379843716e+09);
INSERT INTO "tuner_attempts" VALUES(12,'ended',3,'c3d2eb0d845e288501bab2b78189bc0c',1247234920,'lost','lost','the trainer was killed by SIGKILL (the system may have run out of memory).','host',4651,1.79529346790486884124e+09,1.7952934077557284832e+09,1.79529340791317629818e+09);
INSERT INTO "tuner_attempts" VALUES(13,'ended',3,'e59303be8bf001ab1aef7d5eb951ace9',1247234920,'finished',NULL,NULL,'host',4651,1.79529346828509879106e+09,1.79529340808343911171e+09,1.79529340839397788046e+09);
INSERT INTO "tuner_attempts" VALUES(14,'ended',4,'63e19658cc1330113c47a53e5a3c8d08',935055161,'finished',NULL,NULL,'host',4651,1.7952934696744561196e+09,1.79529340947539210312e+09,1.79529340974371576311e+09);
INSERT INTO "tuner_attempts" VALUES(15,'ended',5,'a8585b92a5b4ec72c727e0ed64c358ca',550961385,'finished',NULL,NULL,'host',4651,1.79529347164150857932e+09,1.79529341140453863141e+09,1.79529341187322092057e+09);
INSERT INTO "tuner_attempts" VALUES(16,'ended',6,'e8281a60c24a191bd4396b169b4340df',1558778656,'finished',NULL,NULL,'host',4651,1795293473.14533,1.79529341306595683095e+09,1.79529341320190048217e+09);
INSERT INTO "tuner_attempts" VALUES(17,'two',0,'1780f1fecfd1b46cda69d7cc72129256',1733200038,'finished',NULL,NULL,'host',4651,1.79529347410449433321e+09,1.79529341388331222535e+09,1.79529341426728725433e+09);
INSERT INTO "tuner_attempts" VALUES(18,'two',1,'58f7c09b7bcb497f8b8865aaf1db902a',1712230578,'finished',NULL,NULL,'host',4651,1.7952934747763893605e+09,1.79529341455543160442e+09,1.79529341497630167009e+09);
INSERT INTO "tuner_attempts" VALUES(19,'two',2,'e26a387d212032b68ac2b26c2d784b8a',611915298,'finished',NULL,NULL,'host',4651,1.79529347538871955876e+09,1.79529341521530389782e+09,1.79529341546321415902e+09);
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
INSERT INTO "tuner_epochs" VALUES('old',3,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('old',4,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('old',5,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('old',6,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',0,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',1,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',2,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',3,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',4,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',5,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('ended',6,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('two',0,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('two',1,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
INSERT INTO "tuner_epochs" VALUES('two',2,1,1.0,2.0,3.0,4,0.1,'{"beta": 0.5}');
CREATE TABLE tuner_studies (
	name VARCHAR NOT NULL, 
	specification JSON NOT NULL, 
	budget INTEGER NOT NULL, 
	folder VARCHAR NOT NULL, 
	created_at DOUBLE NOT NULL, 
	asker VARCHAR, 
	asker_until DOUBLE NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "tuner_studies" VALUES('old','{"technique": "sfb", "space": {"technique": "sfb", "paper": "Chen et al. 2017; Pelsmaeker & Aziz 2019, eq. 26 and table 2", "formula": "D + \u03b2R, \u03b2 \u00d7(1+\u03b1) while R > \u03b3r, \u00f7(1+\u03b1) while R < \u03b5r", "summary": "soft free bits: the rate''s weight is steered towards a target rate", "parameters": [{"name": "r", "type": "float", "default": 6.467, "meaning": "target rate", "low": 1.0, "high": 30.0, "log": false, "step": null, "choices": [], "paper": 6.467, "unit": "nats per sentence", "tuned": true}, {"name": "alpha", "type": "float", "default": 0.01, "meaning": "relative change of \u03b2", "low": 0.001, "high": 0.1, "log": true, "step": null, "choices": [], "paper": 0.01, "unit": "per optimiser step", "tuned": true}, {"name": "gamma", "type": "float", "default": 1.05, "meaning": "\u03b2 grows while R > \u03b3r", "low": 1.0, "high": 1.5, "log": false, "step": null, "choices": [], "paper": 1.05, "unit": "", "tuned": true}, {"name": "epsilon", "type": "float", "default": 1.0, "meaning": "\u03b2 falls while R < \u03b5r", "low": 0.5, "high": 1.0, "log": false, "step": null, "choices": [], "paper": 1.0, "unit": "", "tuned": true}, {"name": "beta_0", "type": "float", "default": 0.1, "meaning": "\u03b2 before the first step", "low": 0.001, "high": 1.0, "log": true, "step": null, "choices": [], "paper": null, "unit": "", "tuned": false}, {"name": "step", "type": "categorical", "default": "multiplicative", "meaning": "how \u03b2 changes: by the factor 1+\u03b1 (authors'' code), or by \u00b1\u03b1 (eq. 26)", "low": null, "high": null, "log": false, "step": null, "choices": ["multiplicative", "additive"], "paper": null, "unit": "", "tuned": false}]}, "corpus": {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}, "model": "tiny", "fixed": {}, "sampler": "gp-map", "sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 0.0, "seed": 0, "objective": "nll", "version": "0.1.0"}',7,'/runs/old-271045',1.79529339219397020342e+09,NULL,0.0);
INSERT INTO "tuner_studies" VALUES('ended','{"technique": "sfb", "space": {"technique": "sfb", "paper": "Chen et al. 2017; Pelsmaeker & Aziz 2019, eq. 26 and table 2", "formula": "D + \u03b2R, \u03b2 \u00d7(1+\u03b1) while R > \u03b3r, \u00f7(1+\u03b1) while R < \u03b5r", "summary": "soft free bits: the rate''s weight is steered towards a target rate", "parameters": [{"name": "r", "type": "float", "default": 6.467, "meaning": "target rate", "low": 1.0, "high": 30.0, "log": false, "step": null, "choices": [], "paper": 6.467, "unit": "nats per sentence", "tuned": true}, {"name": "alpha", "type": "float", "default": 0.01, "meaning": "relative change of \u03b2", "low": 0.001, "high": 0.1, "log": true, "step": null, "choices": [], "paper": 0.01, "unit": "per optimiser step", "tuned": true}, {"name": "gamma", "type": "float", "default": 1.05, "meaning": "\u03b2 grows while R > \u03b3r", "low": 1.0, "high": 1.5, "log": false, "step": null, "choices": [], "paper": 1.05, "unit": "", "tuned": true}, {"name": "epsilon", "type": "float", "default": 1.0, "meaning": "\u03b2 falls while R < \u03b5r", "low": 0.5, "high": 1.0, "log": false, "step": null, "choices": [], "paper": 1.0, "unit": "", "tuned": true}, {"name": "beta_0", "type": "float", "default": 0.1, "meaning": "\u03b2 before the first step", "low": 0.001, "high": 1.0, "log": true, "step": null, "choices": [], "paper": null, "unit": "", "tuned": false}, {"name": "step", "type": "categorical", "default": "multiplicative", "meaning": "how \u03b2 changes: by the factor 1+\u03b1 (authors'' code), or by \u00b1\u03b1 (eq. 26)", "low": null, "high": null, "log": false, "step": null, "choices": ["multiplicative", "additive"], "paper": null, "unit": "", "tuned": false}]}, "corpus": {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}, "model": "tiny", "fixed": {}, "sampler": "gp-map", "sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 1000000.0, "seed": 0, "objective": "nll", "version": "0.1.0"}',9,'/runs/ended-a77471',1.79529340562549734111e+09,NULL,0.0);
INSERT INTO "tuner_studies" VALUES('empty','{"technique": "sfb", "space": {"technique": "sfb", "paper": "Chen et al. 2017; Pelsmaeker & Aziz 2019, eq. 26 and table 2", "formula": "D + \u03b2R, \u03b2 \u00d7(1+\u03b1) while R > \u03b3r, \u00f7(1+\u03b1) while R < \u03b5r", "summary": "soft free bits: the rate''s weight is steered towards a target rate", "parameters": [{"name": "r", "type": "float", "default": 6.467, "meaning": "target rate", "low": 1.0, "high": 30.0, "log": false, "step": null, "choices": [], "paper": 6.467, "unit": "nats per sentence", "tuned": true}, {"name": "alpha", "type": "float", "default": 0.01, "meaning": "relative change of \u03b2", "low": 0.001, "high": 0.1, "log": true, "step": null, "choices": [], "paper": 0.01, "unit": "per optimiser step", "tuned": true}, {"name": "gamma", "type": "float", "default": 1.05, "meaning": "\u03b2 grows while R > \u03b3r", "low": 1.0, "high": 1.5, "log": false, "step": null, "choices": [], "paper": 1.05, "unit": "", "tuned": true}, {"name": "epsilon", "type": "float", "default": 1.0, "meaning": "\u03b2 falls while R < \u03b5r", "low": 0.5, "high": 1.0, "log": false, "step": null, "choices": [], "paper": 1.0, "unit": "", "tuned": true}, {"name": "beta_0", "type": "float", "default": 0.1, "meaning": "\u03b2 before the first step", "low": 0.001, "high": 1.0, "log": true, "step": null, "choices": [], "paper": null, "unit": "", "tuned": false}, {"name": "step", "type": "categorical", "default": "multiplicative", "meaning": "how \u03b2 changes: by the factor 1+\u03b1 (authors'' code), or by \u00b1\u03b1 (eq. 26)", "low": null, "high": null, "log": false, "step": null, "choices": ["multiplicative", "additive"], "paper": null, "unit": "", "tuned": false}]}, "corpus": {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}, "model": "tiny", "fixed": {}, "sampler": "gp-map", "sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 0.0, "seed": 0, "objective": "nll", "version": "0.1.0"}',3,'/runs/empty-7a776f',1.79529341339477396008e+09,NULL,0.0);
INSERT INTO "tuner_studies" VALUES('two','{"technique": "sfb", "space": {"technique": "sfb", "paper": "Chen et al. 2017; Pelsmaeker & Aziz 2019, eq. 26 and table 2", "formula": "D + \u03b2R, \u03b2 \u00d7(1+\u03b1) while R > \u03b3r, \u00f7(1+\u03b1) while R < \u03b5r", "summary": "soft free bits: the rate''s weight is steered towards a target rate", "parameters": [{"name": "r", "type": "float", "default": 6.467, "meaning": "target rate", "low": 1.0, "high": 30.0, "log": false, "step": null, "choices": [], "paper": 6.467, "unit": "nats per sentence", "tuned": true}, {"name": "alpha", "type": "float", "default": 0.01, "meaning": "relative change of \u03b2", "low": 0.001, "high": 0.1, "log": true, "step": null, "choices": [], "paper": 0.01, "unit": "per optimiser step", "tuned": true}, {"name": "gamma", "type": "float", "default": 1.05, "meaning": "\u03b2 grows while R > \u03b3r", "low": 1.0, "high": 1.5, "log": false, "step": null, "choices": [], "paper": 1.05, "unit": "", "tuned": true}, {"name": "epsilon", "type": "float", "default": 1.0, "meaning": "\u03b2 falls while R < \u03b5r", "low": 0.5, "high": 1.0, "log": false, "step": null, "choices": [], "paper": 1.0, "unit": "", "tuned": true}, {"name": "beta_0", "type": "float", "default": 0.1, "meaning": "\u03b2 before the first step", "low": 0.001, "high": 1.0, "log": true, "step": null, "choices": [], "paper": null, "unit": "", "tuned": false}, {"name": "step", "type": "categorical", "default": "multiplicative", "meaning": "how \u03b2 changes: by the factor 1+\u03b1 (authors'' code), or by \u00b1\u03b1 (eq. 26)", "low": null, "high": null, "log": false, "step": null, "choices": ["multiplicative", "additive"], "paper": null, "unit": "", "tuned": false}]}, "corpus": {"name": "grammar", "fingerprint": "f", "sentences": {"train": 1}, "vocabulary": 5, "entropy": 15.0}, "model": "tiny", "fixed": {}, "sampler": "gp-map", "sampler_options": {}, "min_rate": 0.0, "pruner": "none", "stop_when": 0.0, "seed": 0, "objective": "nll,rate", "version": "0.1.0"}',3,'/runs/two-4d7feb',1.79529341350979948044e+09,NULL,0.0);
CREATE TABLE tuner_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT tuner_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "tuner_version" VALUES('0001');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE INDEX tuner_attempts_by_trial ON tuner_attempts (study, trial);
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
